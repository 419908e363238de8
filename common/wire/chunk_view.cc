#include "common/wire/chunk_view.h"

#include "common/base/status_macros.h"
#include "common/wire/field_reader.h"
#include "qc2c/v1/cache.pb.h"

namespace qc2c {

absl::StatusOr<ChunkView> ViewChunk(ByteSpan message) {
  FieldReader fields(message, "CacheChunk");
  ChunkView chunk;
  chunk.sequence = fields.Uint32(v1::CacheChunk::kSequenceFieldNumber);
  chunk.header = fields.Delimited(v1::CacheChunk::kHeaderFieldNumber);
  const size_t begin = fields.offset();
  size_t end = begin;
  while (fields.Delimited(v1::CacheChunk::kBlocksFieldNumber).has_value()) end = fields.offset();
  chunk.blocks = message.subspan(begin, end - begin);
  chunk.trailer = fields.Delimited(v1::CacheChunk::kTrailerFieldNumber);
  RETURN_IF_ERROR(fields.Finish());
  return chunk;
}

absl::StatusOr<BlockView> TakeBlock(ByteSpan& blocks) {
  FieldReader outer(blocks, "CacheChunk.blocks");
  const ByteSpan message = outer.Delimited(v1::CacheChunk::kBlocksFieldNumber).value_or(ByteSpan());
  blocks = blocks.subspan(outer.offset());
  FieldReader fields(message, "LayerBlock");
  BlockView block;
  block.layer = fields.Uint32(v1::LayerBlock::kLayerFieldNumber);
  block.half = fields.Uint32(v1::LayerBlock::kHalfFieldNumber);
  block.first_token = fields.Uint32(v1::LayerBlock::kFirstTokenFieldNumber);
  block.num_tokens = fields.Uint32(v1::LayerBlock::kNumTokensFieldNumber);
  block.codes = fields.Delimited(v1::LayerBlock::kCodesFieldNumber).value_or(ByteSpan());
  block.scales = fields.Delimited(v1::LayerBlock::kScalesFieldNumber).value_or(ByteSpan());
  RETURN_IF_ERROR(fields.Finish());
  return block;
}

}  // namespace qc2c
