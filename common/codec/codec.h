// The codec: a KvCache view in, a KvFrame out, and back. Knows neither torch nor sockets.
//
// A codec is a selection of tokens and a precision. Encoding is deterministic: the same values and
// the same CodecSpec give the same bytes, on the CPU and on CUDA.
//
// Adding a scheme: its own file set (scheme.h's interface), one line in scheme_registry.cc, and a
// golden frame in its test.
#pragma once

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
  size_t codes_offset = 0;  // into KvFrame::data; [num_kept, H, row bytes]
  size_t codes_bytes = 0;
  size_t scales_offset = 0;  // into KvFrame::data; NumScales of them, little-endian
  size_t scales_bytes = 0;
  size_t zero_points_offset = 0;  // into KvFrame::data; with zero points as many as scales
  size_t zero_points_bytes = 0;   // 0 without
};

// An encoded cache. All codes and scales lie in one contiguous buffer, so that a frame leaves a GPU
// in one copy.
struct KvFrame {
  uint64_t model_fingerprint = 0;
  KvLayout layout;
  CodecSpec codec;
  uint32_t num_tokens = 0;          // that the sharer read
  std::vector<uint32_t> positions;  // of the sent tokens, ascending, each < num_tokens
  KvLayerSet layers;                // that are sent: none that codec.schedule does not send
  std::vector<KvBlock> blocks;      // one for each of layers.Tensors(), in this order
  std::vector<uint8_t> data;
  // Of Scheme::kKlt, which has no blocks (klt.h encodes such frames): data is the coefficients'
  // stream, then so many bytes of escapes.
  uint32_t num_escape_bytes = 0;
  const KltCodebook* codebook = nullptr;  // of kKlt; outlives the frame

  ByteSpan Codes(const KvBlock& block) const {
    return ByteSpan(data).subspan(block.codes_offset, block.codes_bytes);
  }
  ByteSpan Scales(const KvBlock& block) const {
    return ByteSpan(data).subspan(block.scales_offset, block.scales_bytes);
  }
  ByteSpan ZeroPoints(const KvBlock& block) const {
    return ByteSpan(data).subspan(block.zero_points_offset, block.zero_points_bytes);
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
// that has checked its header start here.
absl::Status LayOutBlocks(KvFrame& frame);

// Encodes the planes of `layers`, but for those that codec.schedule does not send, from the cache's
// own device; they must be present in `cache`, and for a selection by norm every plane of the
// scored half (selection.h). Finite input is required: NaN or infinity is INVALID_ARGUMENT naming
// layer, half, token and head (CPU and CUDA alike). model_fingerprint is left for the caller. A
// cache on CUDA is read after all work queued on the legacy default stream. `context` has what the
// codec's treatment needs (errors: treatment.h).
absl::StatusOr<KvFrame> EncodeCache(const KvCacheView& cache, const KvLayerSet& layers,
                                    const CodecSpec& codec, const CodecContext& context = {});

// Decodes every block into `out`, whose token i is the frame's i-th sent token: out.num_tokens must
// be positions.size(), out.layout the frame's, and the planes of all its tensors present. Writes
// on out.device, in out.dtype (dequantized in fp32, then rounded to nearest even). Safe on
// untrusted frames: INVALID_ARGUMENT names what does not fit. `context` is the encoder's: its
// token_positions are those of the frame's num_tokens, sent or not. A frame of the scheme klt is
// decoded on the CPU alone.
absl::Status DecodeCache(const KvFrame& frame, const KvCacheView& out,
                         const CodecContext& context = {});

// The plan's formula, for comparison only: kept tokens x H x D x bytes a value, over the sent
// tensors; no scales, no indices, no headers.
uint64_t FormulaBytes(const KvFrame& frame);

}  // namespace qc2c
