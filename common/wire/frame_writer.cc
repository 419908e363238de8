#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/entropy.h"
#include "common/codec/frame_layout.h"
#include "common/wire/frame_checksum.h"
#include "common/wire/frame_codec.h"
#include "common/wire/klt_frame.h"
#include "common/wire/position_list.h"

namespace qc2c {
namespace {

absl::StatusOr<v1::CacheHeader> MakeHeader(const KvFrame& frame) {
  ASSIGN_OR_RETURN(CodedPositions coded, CodePositions(frame.codec, frame.num_tokens,
                                                       frame.positions, frame.num_index_sets()));
  v1::CacheHeader header;
  header.set_format_version(kFormatVersion);
  header.set_model_fingerprint(frame.model_fingerprint);
  *header.mutable_layout() = LayoutToProto(frame.layout);
  *header.mutable_codec() = CodecToProto(frame.codec);
  header.set_num_tokens(frame.num_tokens);
  header.set_num_kept(frame.num_kept());
  header.set_index_coding(coded.coding);
  header.set_indices(std::move(coded.indices));
  header.mutable_key_layers()->Add(frame.layers.keys.begin(), frame.layers.keys.end());
  header.mutable_value_layers()->Add(frame.layers.values.begin(), frame.layers.values.end());
  return header;
}

// Cuts a frame's blocks along tokens and gathers the pieces into messages.
class ChunkWriter {
 public:
  ChunkWriter(const KvFrame& frame, uint32_t chunk_bytes)
      : frame_(frame), chunk_bytes_(chunk_bytes) {}

  std::vector<std::string> Write(const v1::CacheHeader& header) {
    AddHeader(hasher_, header);
    *chunk_.mutable_header() = header;
    for (const KvBlock& block : frame_.blocks) WriteBlock(block);
    WriteTrailer();
    Flush();
    return std::move(messages_);
  }

 private:
  // A block is cut as if its codes were not coded once more: what they take is known afterwards.
  void WriteBlock(const KvBlock& block) {
    const uint32_t num_kept = frame_.num_kept();
    const CodecSpec own = frame_.codec.Of(block.layer, block.half);
    const size_t token_codes = block.codes_bytes / num_kept;
    for (uint32_t first = 0; first < num_kept;) {
      // A message takes one token even if that alone passes the chunk size.
      if (used_ > 0 && used_ + PieceBytes(block, own, first, 1) > chunk_bytes_) Flush();
      const uint32_t count = TokensThatFit(block, own, first);
      const size_t scales = ScaleBytesBefore(own, first);
      const size_t scale_bytes = ScaleBytesBefore(own, first + count) - scales;
      std::vector<uint8_t> scales_of_piece;
      for (const ByteSpan section : {frame_.Scales(block), frame_.ZeroPoints(block)}) {
        if (section.empty()) continue;
        const ByteSpan part = section.subspan(scales, scale_bytes);
        scales_of_piece.insert(scales_of_piece.end(), part.begin(), part.end());
      }
      const ByteSpan codes = frame_.Codes(block).subspan(first * token_codes, count * token_codes);
      AddSlice(block, first, count, Coded(own.scheme, codes), scales_of_piece);
      used_ += codes.size() + scales_of_piece.size();
      first += count;
    }
  }

  // `codes` or, until the next call, what its coding makes of them.
  ByteSpan Coded(Scheme scheme, ByteSpan codes) {
    const Entropy entropy = frame_.codec.entropy;
    if (entropy == Entropy::kNone) return codes;
    const CodeSource source = {scheme, frame_.layout.head_dim, frame_.layout.num_kv_heads};
    coded_ = EncodeCodes(entropy, source, codes);
    return coded_;
  }

  // Of a block's tokens before `token`.
  size_t ScaleBytesBefore(const CodecSpec& own, uint32_t token) const {
    return qc2c::ScaleBytesBefore(own.scaling(), token, frame_.layout.num_kv_heads,
                                  frame_.layout.head_dim);
  }

  // Codes, scales and zero points of `count` tokens.
  size_t PieceBytes(const KvBlock& block, const CodecSpec& own, uint32_t first,
                    uint32_t count) const {
    const size_t sections = block.zero_points_bytes == 0 ? 1 : 2;
    return block.codes_bytes / frame_.num_kept() * count +
           sections * (ScaleBytesBefore(own, first + count) - ScaleBytesBefore(own, first));
  }

  // The most tokens from `first` on that the message has room for, at least one.
  uint32_t TokensThatFit(const KvBlock& block, const CodecSpec& own, uint32_t first) const {
    uint32_t fit = 1;
    uint32_t most = frame_.num_kept() - first;
    while (fit < most) {
      const uint32_t middle = fit + (most - fit + 1) / 2;
      if (used_ + PieceBytes(block, own, first, middle) <= chunk_bytes_) {
        fit = middle;
      } else {
        most = middle - 1;
      }
    }
    return fit;
  }

  void AddSlice(const KvBlock& block, uint32_t first, uint32_t count, ByteSpan codes,
                ByteSpan scales) {
    v1::LayerBlock& slice = *chunk_.add_blocks();
    slice.set_layer(static_cast<uint32_t>(block.layer));
    slice.set_half(static_cast<v1::Half>(block.half));
    slice.set_first_token(first);
    slice.set_num_tokens(count);
    slice.set_codes(codes.data(), codes.size());
    if (!scales.empty()) slice.set_scales(scales.data(), scales.size());
    AddBlock(hasher_, slice.layer(), slice.half(), first, count, codes, scales);
    ++num_blocks_;
    code_bytes_ += codes.size();
    scale_bytes_ += scales.size();
  }

  void WriteTrailer() {
    v1::CacheTrailer& trailer = *chunk_.mutable_trailer();
    trailer.set_num_blocks(num_blocks_);
    trailer.set_code_bytes(code_bytes_);
    trailer.set_scale_bytes(scale_bytes_);
    trailer.set_checksum(hasher_.Digest());
  }

  void Flush() {
    chunk_.set_sequence(static_cast<uint32_t>(messages_.size()));
    messages_.push_back(chunk_.SerializeAsString());
    chunk_.Clear();
    used_ = 0;
  }

  const KvFrame& frame_;
  const size_t chunk_bytes_;
  std::vector<std::string> messages_;
  v1::CacheChunk chunk_;
  size_t used_ = 0;  // codes and scales in chunk_, the codes as they are in the frame
  std::vector<uint8_t> coded_;
  Hasher hasher_;
  uint32_t num_blocks_ = 0;
  uint64_t code_bytes_ = 0;
  uint64_t scale_bytes_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<std::string>> WriteFrame(const KvFrame& frame, uint32_t chunk_bytes) {
  if (chunk_bytes < kMinChunkBytes || chunk_bytes > kMaxChunkBytes) {
    return absl::InvalidArgumentError(absl::StrCat("chunk_bytes is ", chunk_bytes, ": expected ",
                                                   kMinChunkBytes, " to ", kMaxChunkBytes));
  }
  if (frame.codec.klt) {
    ASSIGN_OR_RETURN(std::string message, WriteKltFrame(frame));
    return std::vector<std::string>{std::move(message)};
  }
  RETURN_IF_ERROR(CheckFrame(frame));
  ASSIGN_OR_RETURN(const v1::CacheHeader header, MakeHeader(frame));
  return ChunkWriter(frame, chunk_bytes).Write(header);
}

absl::StatusOr<uint64_t> BytesOfFrame(const KvFrame& frame, uint32_t chunk_bytes) {
  KvFrame fingerprinted = frame;
  fingerprinted.model_fingerprint = ~uint64_t{0};  // a fingerprint of 0 would be absent
  ASSIGN_OR_RETURN(const std::vector<std::string> messages, WriteFrame(fingerprinted, chunk_bytes));
  uint64_t bytes = 0;
  for (const std::string& message : messages) bytes += message.size();
  return bytes;
}

}  // namespace qc2c
