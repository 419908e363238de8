// The codec: a KvCache view in, a KvFrame out, and back. Knows neither torch nor sockets.
//
// A codec is a selection of tokens and a precision. Encoding is deterministic: the same values and
// the same CodecSpec give the same bytes, on the CPU and on CUDA.
//
// Adding a scheme: its own file set (scheme.h's interface), one line in scheme_registry.cc, and a
// golden frame in its test.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/codec/codec_context.h"
#include "common/codec/codec_spec.h"
#include "common/codec/layer_set.h"
#include "common/tensor/kv_cache_view.h"

namespace qc2c {

struct KltCodebook;

// One (layer, half) of a frame. Both spans borrow from KvFrame::data.
struct KvBlock {
  int32_t layer = 0;
  Half half = Half::kKey;
  size_t codes_offset = 0;  // into KvFrame::data (coded: behind it); [num_kept, H, row bytes]
  size_t codes_bytes = 0;
  size_t scales_offset = 0;  // into KvFrame::data; NumScales of them, little-endian
  size_t scales_bytes = 0;
  size_t zero_points_offset = 0;  // into KvFrame::data; with zero points as many as scales
  size_t zero_points_bytes = 0;   // 0 without
};

// A run of a block's tokens whose codes are coded as they travel (proto/FORMAT.md, section 14).
struct CodedPiece {
  size_t block = 0;  // index into KvFrame::blocks
  uint32_t first_token = 0;
  uint32_t num_tokens = 0;
  size_t offset = 0;  // into KvFrame::coded
  size_t bytes = 0;
};

// An encoded cache. Its codes are in `data`, unless the frame is coded: then they are in `coded`
// alone, and `data` ends where the codes of the first block would begin. A coded frame comes from a
// cache on CUDA when its codec has entropy=rans and the encoder knows how it will be cut
// (CodecContext::chunk_bytes), or from a reader that was asked to keep what it reads so
// (FrameExpectation::keep_coded). DecodeCache and WriteFrame take both kinds; who wants the codes
// themselves calls DecodeFrameCodes (coded_frame.h) first.
struct KvFrame {
  uint64_t model_fingerprint = 0;
  KvLayout layout;
  CodecSpec codec;
  uint32_t num_tokens = 0;  // that the sharer read
  // Of the sent tokens, ascending, each < num_tokens. With an index set a layer (codec.index_sets)
  // those of the first of layers.Layers(), then of the next, num_kept() of each.
  std::vector<uint32_t> positions;
  KvLayerSet layers;            // that are sent: none that codec.schedule does not send
  std::vector<KvBlock> blocks;  // one for each of layers.Tensors(), in this order
  std::vector<uint8_t> data;
  // Of a coded frame: pieces that have each token of each block once, in order.
  std::vector<CodedPiece> coded_pieces;
  std::vector<uint8_t> coded;
  // Of Scheme::kKlt, which has no blocks (klt.h encodes such frames): data is the coefficients'
  // stream, then so many bytes of escapes.
  uint32_t num_escape_bytes = 0;
  const KltCodebook* codebook = nullptr;  // of kKlt; outlives the frame

  size_t num_index_sets() const {
    return codec.index_sets == IndexSets::kOne ? 1 : layers.NumLayers();
  }
  // Tokens that are sent of each layer.
  uint32_t num_kept() const {
    return static_cast<uint32_t>(positions.size() / std::max<size_t>(num_index_sets(), 1));
  }
  // Where the positions of a sent layer begin in `positions`; 0 with one set for all.
  size_t FirstPosition(int32_t layer) const;
  // REQUIRES: something of the layer is sent.
  std::span<const uint32_t> PositionsOf(int32_t layer) const {
    return std::span(positions).subspan(FirstPosition(layer), num_kept());
  }

  bool is_coded() const { return !coded_pieces.empty(); }
  // Of data with all codes.
  size_t RoomBytes() const;

  // REQUIRES: not is_coded().
  ByteSpan Codes(const KvBlock& block) const {
    return ByteSpan(data).subspan(block.codes_offset, block.codes_bytes);
  }
  ByteSpan Scales(const KvBlock& block) const {
    return ByteSpan(data).subspan(block.scales_offset, block.scales_bytes);
  }
  ByteSpan ZeroPoints(const KvBlock& block) const {
    return ByteSpan(data).subspan(block.zero_points_offset, block.zero_points_bytes);
  }
  ByteSpan Coded(const CodedPiece& piece) const {
    return ByteSpan(coded).subspan(piece.offset, piece.bytes);
  }
};

// Bytes of the codes, of the scales and of the zero points of one block of `num_kept` tokens,
// `codec` being that of its tensor (CodecSpec::Of). INVALID_ARGUMENT for a layout out of range
// (KvLayout::Validate) or num_kept above KvLayout::kMaxTokens, so neither can overflow.
struct BlockBytes {
  size_t codes = 0;
  size_t scales = 0;
  size_t zero_points = 0;
};
absl::StatusOr<BlockBytes> BytesOfBlock(const CodecSpec& codec, const KvLayout& layout,
                                        uint32_t num_kept);

// Lays out the blocks of `layers` one after another and sizes `data`. Both the encoder and a reader
// that has checked its header start here. kCoded: the codes of all blocks are behind everything
// else, and `data` has no room for them.
enum class FrameCodes : uint8_t { kPlain, kCoded };
absl::Status LayOutBlocks(KvFrame& frame, FrameCodes codes = FrameCodes::kPlain);

// Encodes the planes of `layers`, but for those that codec.schedule does not send, from the cache's
// own device; they must be present in `cache`, and for a selection by norm what that
// reads (selection.h). Finite input is required: NaN or infinity is INVALID_ARGUMENT naming
// layer, half, token and head (CPU and CUDA alike). model_fingerprint is left for the caller. A
// cache on CUDA is read after all work queued on the legacy default stream, and its frame may be
// coded (KvFrame). `context` has what the codec's treatment needs (errors: treatment.h).
absl::StatusOr<KvFrame> EncodeCache(const KvCacheView& cache, const KvLayerSet& layers,
                                    const CodecSpec& codec, const CodecContext& context = {});

// Decodes every block into `out`, whose token i is the i-th sent token of each layer:
// out.num_tokens must be num_kept(), out.layout the frame's, and the planes of all its tensors
// present. Writes on out.device, in out.dtype (dequantized in fp32, then rounded to nearest even).
// Safe on untrusted frames: INVALID_ARGUMENT names what does not fit; DATA_LOSS a coded piece that
// is not the coding of its codes, in DecodeCodes' words on any device. `context` is the encoder's:
// its token_positions are those of the frame's num_tokens, sent or not. A frame of the scheme klt
// is decoded on the CPU alone.
absl::Status DecodeCache(const KvFrame& frame, const KvCacheView& out,
                         const CodecContext& context = {});

// The plan's formula, for comparison only: kept tokens x H x D x bytes a value, over the sent
// tensors; no scales, no indices, no headers.
uint64_t FormulaBytes(const KvFrame& frame);

}  // namespace qc2c
