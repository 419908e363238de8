#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/coded_frame.h"
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

// Whether the frame's coding is that of these pieces.
bool IsCodedAs(const KvFrame& frame, const std::vector<FramePiece>& pieces) {
  return std::ranges::equal(
      frame.coded_pieces, pieces, [](const CodedPiece& coded, const FramePiece& piece) {
        return coded.block == piece.block && coded.first_token == piece.first_token &&
               coded.num_tokens == piece.num_tokens;
      });
}

// Gathers the pieces of a frame into messages.
class ChunkWriter {
 public:
  // REQUIRES: the frame is not coded, or as `pieces`.
  ChunkWriter(const KvFrame& frame, const std::vector<FramePiece>& pieces)
      : frame_(frame), pieces_(pieces) {}

  std::vector<std::string> Write(const v1::CacheHeader& header) {
    AddHeader(hasher_, header);
    *chunk_.mutable_header() = header;
    for (size_t i = 0; i < pieces_.size(); ++i) WritePiece(i);
    WriteTrailer();
    Flush();
    return std::move(messages_);
  }

 private:
  void WritePiece(size_t index) {
    const FramePiece& piece = pieces_[index];
    if (piece.begins_message) Flush();
    const KvBlock& block = frame_.blocks[piece.block];
    const size_t scales = ScaleBytesBefore(block, piece.first_token);
    const size_t scale_bytes =
        ScaleBytesBefore(block, piece.first_token + piece.num_tokens) - scales;
    std::vector<uint8_t> scales_of_piece;
    for (const ByteSpan section : {frame_.Scales(block), frame_.ZeroPoints(block)}) {
      if (section.empty()) continue;
      const ByteSpan part = section.subspan(scales, scale_bytes);
      scales_of_piece.insert(scales_of_piece.end(), part.begin(), part.end());
    }
    AddSlice(block, piece.first_token, piece.num_tokens, Codes(index), scales_of_piece);
  }

  // The codes of a piece as they travel; until the next call.
  ByteSpan Codes(size_t index) {
    if (frame_.is_coded()) return frame_.Coded(frame_.coded_pieces[index]);
    const FramePiece& piece = pieces_[index];
    const KvBlock& block = frame_.blocks[piece.block];
    const size_t token_codes = block.codes_bytes / frame_.num_kept();
    const ByteSpan codes = frame_.Codes(block).subspan(piece.first_token * token_codes,
                                                       piece.num_tokens * token_codes);
    if (frame_.codec.entropy == Entropy::kNone) return codes;
    coded_ = EncodeCodes(frame_.codec.entropy, SourceOf(frame_, block), codes);
    return coded_;
  }

  // Of a block's tokens before `token`.
  size_t ScaleBytesBefore(const KvBlock& block, uint32_t token) const {
    return qc2c::ScaleBytesBefore(frame_.codec.Of(block.layer, block.half).scaling(), token,
                                  frame_.layout.num_kv_heads, frame_.layout.head_dim);
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
  }

  const KvFrame& frame_;
  const std::vector<FramePiece>& pieces_;
  std::vector<std::string> messages_;
  v1::CacheChunk chunk_;
  std::vector<uint8_t> coded_;
  Hasher hasher_;
  uint32_t num_blocks_ = 0;
  uint64_t code_bytes_ = 0;
  uint64_t scale_bytes_ = 0;
};

// One token of very wide heads, with scales that all of its tokens share, may be more than a
// message holds.
absl::StatusOr<std::vector<std::string>> OfReadableSize(std::vector<std::string> messages) {
  constexpr size_t kMost = kMaxChunkBytes + kMessageSlackBytes;
  for (const std::string& message : messages) {
    if (message.size() <= kMost) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("one token of a tensor, with its scales, makes a message of ", message.size(),
                     " bytes: expected at most ", kMost));
  }
  return messages;
}

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
  const std::vector<FramePiece> pieces = PlanPieces(frame, chunk_bytes);
  if (!frame.is_coded() || IsCodedAs(frame, pieces)) {
    return OfReadableSize(ChunkWriter(frame, pieces).Write(header));
  }
  KvFrame plain = frame;
  RETURN_IF_ERROR(DecodeFrameCodes(plain));
  return OfReadableSize(ChunkWriter(plain, pieces).Write(header));
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
