// The codec: a KvCache view in, a KvFrame out, and back. Knows neither torch nor sockets.
//
// A codec is a selection of tokens and a precision. Encoding is deterministic: the same values and
// the same CodecSpec give the same bytes, on the CPU and on CUDA.
//
// Adding a scheme: its own file set (scheme.h's interface), one line in scheme_registry.cc, and a
// golden frame in its test.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/codec/codec_enums.h"
#include "common/tensor/kv_cache_view.h"

namespace qc2c {

std::string_view SchemeName(Scheme scheme);
std::string_view AxisName(Axis axis);
std::string_view ScaleTypeName(ScaleType type);
std::string_view SelectionName(Selection selection);

// How many tokens a selection keeps: a ratio in (0, 1] or a count of at least 1.
using Keep = std::variant<float, uint32_t>;

struct CodecSpec {
  Scheme scheme = Scheme::kInt8;
  Axis axis = Axis::kPerToken;              // kNone for the float schemes
  ScaleType scale_type = ScaleType::kFp16;  // kNone for the float schemes
  Selection selection = Selection::kAll;
  std::optional<Keep> keep;  // absent for kAll, present for the others

  // "SCHEME[,key=value]...": keys axis, scale, select, keep_ratio, keep_tokens, as on the command
  // line. Defaults: axis per_token, scale fp16, select all. INVALID_ARGUMENT naming the key, the
  // value and what was expected.
  static absl::StatusOr<CodecSpec> Parse(std::string_view text);
  // The canonical text: Parse(ToString()) gives the same spec; equal specs give equal texts.
  std::string ToString() const;
  // INVALID_ARGUMENT naming the field and its range.
  absl::Status Validate() const;
  // max(1, floor(keep_ratio * num_tokens + 0.5)), the product rounded to fp32, or
  // min(keep_tokens, num_tokens). REQUIRES: valid.
  uint32_t NumKept(uint32_t num_tokens) const;

  bool operator==(const CodecSpec&) const = default;
};

// One (layer, half) of a frame. Both spans borrow from KvFrame::data.
struct KvBlock {
  int32_t layer = 0;
  Half half = Half::kKey;
  size_t codes_offset = 0;  // into KvFrame::data; [num_kept, H, row bytes]
  size_t codes_bytes = 0;
  size_t scales_offset = 0;  // into KvFrame::data; [num_kept, H], [H] or [1]; little-endian
  size_t scales_bytes = 0;
};

// An encoded cache. All codes and scales lie in one contiguous buffer, so that a frame leaves a GPU
// in one copy.
struct KvFrame {
  uint64_t model_fingerprint = 0;
  KvLayout layout;
  CodecSpec codec;
  uint32_t num_tokens = 0;          // that the sharer read
  std::vector<uint32_t> positions;  // of the sent tokens, ascending, each < num_tokens
  std::vector<int32_t> layers;      // that are sent, ascending
  std::vector<KvBlock> blocks;      // layers.size() x {key, value}, in this order
  std::vector<uint8_t> data;

  ByteSpan Codes(const KvBlock& block) const {
    return ByteSpan(data).subspan(block.codes_offset, block.codes_bytes);
  }
  ByteSpan Scales(const KvBlock& block) const {
    return ByteSpan(data).subspan(block.scales_offset, block.scales_bytes);
  }
};

// Bytes of the codes and of the scales of one block of `num_kept` tokens. INVALID_ARGUMENT for a
// layout out of range (KvLayout::Validate) or num_kept above KvLayout::kMaxTokens, so neither can
// overflow.
struct BlockBytes {
  size_t codes = 0;
  size_t scales = 0;
};
absl::StatusOr<BlockBytes> BytesOfBlock(const CodecSpec& codec, const KvLayout& layout,
                                        uint32_t num_kept);

// Lays out the blocks of `layers` one after another and sizes `data`. Both the encoder and a reader
// that has checked its header start here.
absl::Status LayOutBlocks(KvFrame& frame);

// Encodes the planes of `layers` (ascending, distinct, all present in `cache`) from the cache's own
// device. Finite input is required: NaN or infinity is INVALID_ARGUMENT naming layer and half (CPU
// and CUDA alike). model_fingerprint is left for the caller. A cache on CUDA is read after all work
// queued on the legacy default stream.
absl::StatusOr<KvFrame> EncodeCache(const KvCacheView& cache, std::span<const int32_t> layers,
                                    const CodecSpec& codec);

// Decodes every block into `out`, whose token i is the frame's i-th sent token: out.num_tokens must
// be positions.size(), out.layout the frame's, and the planes of all frame layers present. Writes
// on out.device, in out.dtype (dequantized in fp32, then rounded to nearest even). Safe on
// untrusted frames: INVALID_ARGUMENT names what does not fit.
absl::Status DecodeCache(const KvFrame& frame, const KvCacheView& out);

// The plan's formula, for comparison only: kept tokens x H x D x 2 x bytes a value, over the sent
// layers; no scales, no indices, no headers.
uint64_t FormulaBytes(const KvFrame& frame);

}  // namespace qc2c
