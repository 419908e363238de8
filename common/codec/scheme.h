// What a scheme must provide: how the values of one block (the keys or the values of one layer)
// become codes and scales, and back. The drivers (encoder.cc, decoder.cc) own everything else:
// selection, layout of the frame, checks of untrusted sizes, and the wording of errors.
// cuda_scheme.h has the same for the GPU.
//
// A scheme is stateless; its one instance lives in scheme_registry.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "common/base/bytes.h"
#include "common/codec/codec_enums.h"
#include "common/tensor/kv_cache_view.h"

namespace qc2c {

// One block's rows in CPU memory. Row (i, h) is token positions[i] of head h: D values of `dtype`.
struct BlockRows {
  KvPlane plane;
  DType dtype = DType::kFp32;
  int32_t num_heads = 0;
  int32_t head_dim = 0;
  std::span<const uint32_t> positions;

  // `i` counts the block's tokens, not the cache's.
  std::byte* Row(size_t i, int32_t head) const {
    const int64_t element = positions[i] * plane.token_stride + head * plane.head_stride;
    return static_cast<std::byte*>(plane.data) + element * DTypeBytes(dtype);
  }
};

// Why a block cannot be encoded; bits, so that a whole block (or a GPU) can collect them.
using BlockFaults = uint32_t;
inline constexpr BlockFaults kNotFinite = 1;  // a value is NaN or infinite
inline constexpr BlockFaults kOutOfRange =
    2;  // a value or a scale overflows the type that stores it

class SchemeCoder {
 public:
  virtual ~SchemeCoder() = default;

  virtual Scheme scheme() const = 0;
  virtual std::string_view name() const = 0;
  virtual int bits_per_value() const = 0;
  virtual bool has_scales() const = 0;
  // Bytes of the codes of D values; a row starts at a byte.
  virtual size_t RowBytes(int32_t head_dim) const = 0;

  // Fills `codes` [T, H, row bytes] and `scales` (NumScales of `scaling`; empty without scales), T
  // being rows.positions.size(). Both have exactly that size. The result says which faults the
  // block's values have; if any, codes and scales are worthless.
  virtual BlockFaults EncodeBlock(const BlockRows& rows, const Scaling& scaling,
                                  MutableByteSpan codes, MutableByteSpan scales) const = 0;
  // Writes every row of `rows` from spans of those sizes. Any byte values are memory-safe.
  virtual void DecodeBlock(ByteSpan codes, ByteSpan scales, const Scaling& scaling,
                           const BlockRows& rows) const = 0;
};

}  // namespace qc2c
