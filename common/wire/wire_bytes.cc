#include "common/base/status_macros.h"
#include "common/wire/chunk_view.h"
#include "common/wire/field_reader.h"
#include "common/wire/frame_codec.h"

namespace qc2c {
namespace {

// The length of CacheHeader.indices in a serialized header.
absl::StatusOr<uint64_t> IndexBytes(ByteSpan header) {
  FieldReader fields(header, "CacheHeader");
  fields.Uint32(v1::CacheHeader::kFormatVersionFieldNumber);
  fields.Fixed64(v1::CacheHeader::kModelFingerprintFieldNumber);
  fields.Delimited(v1::CacheHeader::kLayoutFieldNumber);
  fields.Delimited(v1::CacheHeader::kCodecFieldNumber);
  fields.Uint32(v1::CacheHeader::kNumTokensFieldNumber);
  fields.Uint32(v1::CacheHeader::kNumKeptFieldNumber);
  fields.Uint32(v1::CacheHeader::kIndexCodingFieldNumber);
  const auto indices = fields.Delimited(v1::CacheHeader::kIndicesFieldNumber);
  fields.Delimited(v1::CacheHeader::kKeyLayersFieldNumber);
  fields.Delimited(v1::CacheHeader::kValueLayersFieldNumber);
  fields.Uint32(v1::CacheHeader::kNumEscapeBytesFieldNumber);
  RETURN_IF_ERROR(fields.Finish());
  return indices.value_or(ByteSpan()).size();
}

}  // namespace

WireBytes& WireBytes::operator+=(const WireBytes& other) {
  tx += other.tx;
  payload += other.payload;
  scales += other.scales;
  indices += other.indices;
  header += other.header;
  messages += other.messages;
  return *this;
}

absl::StatusOr<WireBytes> CountMessage(const std::string& message) {
  ASSIGN_OR_RETURN(ChunkView chunk, ViewChunk(AsBytes(message)));
  WireBytes bytes;
  bytes.tx = message.size();
  bytes.messages = 1;
  if (chunk.header.has_value()) {
    ASSIGN_OR_RETURN(bytes.indices, IndexBytes(*chunk.header));
  }
  while (!chunk.blocks.empty()) {
    ASSIGN_OR_RETURN(const BlockView block, TakeBlock(chunk.blocks));
    bytes.payload += block.codes.size();
    bytes.scales += block.scales.size();
  }
  bytes.header = bytes.tx - bytes.payload - bytes.scales - bytes.indices;
  return bytes;
}

}  // namespace qc2c
