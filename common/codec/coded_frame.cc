#include "common/codec/coded_frame.h"

#include "common/base/status_macros.h"

namespace qc2c {
namespace {

// What goes into messages until one is full.
class PiecePlanner {
 public:
  PiecePlanner(const KvFrame& frame, uint32_t chunk_bytes)
      : frame_(frame), chunk_bytes_(chunk_bytes) {}

  std::vector<FramePiece> Plan() {
    for (size_t i = 0; i < frame_.blocks.size(); ++i) PlanBlock(i);
    return std::move(pieces_);
  }

 private:
  // A block is cut as if its codes were not coded once more: what they take is known afterwards.
  void PlanBlock(size_t index) {
    const KvBlock& block = frame_.blocks[index];
    const CodecSpec own = frame_.codec.Of(block.layer, block.half);
    for (uint32_t first = 0; first < frame_.num_kept();) {
      // A message takes one token even if that alone passes the chunk size.
      const bool is_full = used_ > 0 && used_ + PieceBytes(block, own, first, 1) > chunk_bytes_;
      if (is_full) used_ = 0;
      const uint32_t count = TokensThatFit(block, own, first);
      pieces_.push_back({index, first, count, is_full});
      used_ += PieceBytes(block, own, first, count);
      first += count;
    }
  }

  // Codes, scales and zero points of `count` tokens.
  size_t PieceBytes(const KvBlock& block, const CodecSpec& own, uint32_t first,
                    uint32_t count) const {
    const auto scales_before = [&](uint32_t token) {
      return ScaleBytesBefore(own.scaling(), token, frame_.layout.num_kv_heads,
                              frame_.layout.head_dim);
    };
    const size_t sections = block.zero_points_bytes == 0 ? 1 : 2;
    return block.codes_bytes / frame_.num_kept() * count +
           sections * (scales_before(first + count) - scales_before(first));
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

  const KvFrame& frame_;
  const size_t chunk_bytes_;
  size_t used_ = 0;  // codes and scales in the current message, the codes as they are in the frame
  std::vector<FramePiece> pieces_;
};

}  // namespace

std::vector<FramePiece> PlanPieces(const KvFrame& frame, uint32_t chunk_bytes) {
  return PiecePlanner(frame, chunk_bytes).Plan();
}

CodeSource SourceOf(const KvFrame& frame, const KvBlock& block) {
  return {frame.codec.Of(block.layer, block.half).scheme, frame.layout.head_dim,
          frame.layout.num_kv_heads};
}

absl::Status DecodeFrameCodes(KvFrame& frame) {
  if (!frame.is_coded()) return absl::OkStatus();
  std::vector<uint8_t> data = frame.data;
  data.resize(frame.RoomBytes());
  for (const CodedPiece& piece : frame.coded_pieces) {
    const KvBlock& block = frame.blocks[piece.block];
    const size_t token_codes = block.codes_bytes / frame.num_kept();
    RETURN_IF_ERROR(DecodeCodes(
        frame.codec.entropy, SourceOf(frame, block), frame.Coded(piece),
        MutableByteSpan(data).subspan(block.codes_offset + token_codes * piece.first_token,
                                      token_codes * piece.num_tokens)));
  }
  frame.data = std::move(data);
  frame.coded_pieces.clear();
  frame.coded.clear();
  return absl::OkStatus();
}

}  // namespace qc2c
