#include "common/codec/absmax_rows.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "common/codec/absmax.h"
#include "common/codec/absmax_product.h"
#include "common/codec/bit_packing.h"
#include "common/codec/rows.h"
#include "common/codec/vector_clones.h"

namespace qc2c {
namespace {

// Values of the rows that are worked on at once: in fp32 they fit into the first cache.
constexpr size_t kValuesAtOnce = 4096;

DType DTypeOf(ScaleType type) {
  switch (type) {
    case ScaleType::kFp16:
      return DType::kFp16;
    case ScaleType::kBf16:
      return DType::kBf16;
    default:
      return DType::kFp32;
  }
}

// By products (absmax_product.h); a row that comes next to a tie is divided (one of a hundred).
QC2C_VECTOR_CLONES void QuantizeRows(const float* __restrict values, const float* __restrict scales,
                                     const float* __restrict reciprocals, size_t num_rows,
                                     size_t dim, float qmax, uint8_t* __restrict codes) {
  for (size_t r = 0; r < num_rows; ++r) {
    const float* __restrict const row = values + r * dim;
    uint8_t* __restrict const out = codes + r * dim;
    const float reciprocal = reciprocals[r];
    uint32_t nearest = kBelowCode;
    for (size_t d = 0; d < dim; ++d) {
      const float sum = row[d] * reciprocal + kProductMagic;
      const uint32_t bits = 2 * std::bit_cast<uint32_t>(sum) + kProductOffset;
      nearest = std::min(nearest, bits & kBelowCode);
      out[d] = static_cast<uint8_t>(bits >> kProductCodeBit);
    }
    if (nearest > kNextToTie) continue;
    const float divisor = scales[r] > 0.0f ? scales[r] : std::numeric_limits<float>::infinity();
    for (size_t d = 0; d < dim; ++d) {
      out[d] = static_cast<uint8_t>(AbsmaxCode(row[d], divisor, qmax));
    }
  }
}

// 1 if a number of at least 0 is NaN or infinite, in a form that is compiled to vectors.
inline uint32_t IsNotFinite(float value) {
  return static_cast<uint32_t>(std::bit_cast<uint32_t>(value) >= kNotFiniteBits);
}

// Maxima become their quotients by `divisor`; 1 if one is not finite, which counts as 0.
QC2C_VECTOR_CLONES uint32_t DivideMaxima(float divisor, size_t num, float* maxima) {
  uint32_t is_wrong = 0;
  for (size_t r = 0; r < num; ++r) {
    const uint32_t is_not_finite = IsNotFinite(maxima[r]);
    is_wrong |= is_not_finite;
    maxima[r] = (is_not_finite != 0 ? 0.0f : maxima[r]) / divisor;
  }
  return is_wrong;
}

// Scales below `least` become 0, and the others get reciprocals; 1 if one times `top` is not
// finite.
QC2C_VECTOR_CLONES uint32_t FinishScales(float least, float top, size_t num,
                                         float* __restrict scales, float* __restrict reciprocals) {
  uint32_t is_wrong = 0;
  for (size_t r = 0; r < num; ++r) {
    const float scale = scales[r] < least ? 0.0f : scales[r];
    const float reciprocal = 1.0f / (scale > 0.0f ? scale : 1.0f);
    is_wrong |= IsNotFinite(scale * top);
    scales[r] = scale;
    reciprocals[r] = scale > 0.0f ? reciprocal : 0.0f;
  }
  return is_wrong;
}

// From maxima to the scales that are stored, in place: ScaleOf and StoreScale (scaled_scheme.h) of
// many rows at a time.
BlockFaults FindScales(int bits, ScaleType type, size_t num, std::vector<float>& maxima,
                       std::vector<float>& reciprocals, std::byte* stored) {
  const ScaleRule rule = AbsmaxRule(bits);
  const DType dtype = DTypeOf(type);
  BlockFaults faults = 0;
  if (DivideMaxima(rule.divisor, num, maxima.data()) != 0) faults |= kNotFinite;
  StoreRow(dtype, maxima.data(), num, stored);
  LoadRow(dtype, stored, num, maxima.data());
  // A scale that was rounded up near the largest number would decode to infinity.
  if (FinishScales(MinNormalScale(type), rule.top, num, maxima.data(), reciprocals.data()) != 0) {
    faults |= kOutOfRange;
  }
  StoreRow(dtype, maxima.data(), num, stored);
  return faults;
}

}  // namespace

BlockFaults EncodeAbsmaxRows(const BlockRows& rows, int bits, ScaleType type, MutableByteSpan codes,
                             MutableByteSpan scales) {
  const auto dim = static_cast<size_t>(rows.head_dim);
  const size_t num_rows = rows.positions.size() * static_cast<size_t>(rows.num_heads);
  const size_t at_once = std::max<size_t>(kValuesAtOnce / dim, 1);
  const size_t row_bytes = PackedBytes(bits, dim);
  std::vector<float> values(at_once * dim), maxima(at_once), reciprocals(at_once);
  std::vector<uint8_t> unpacked(at_once * dim);
  std::vector<const std::byte*> pointers(at_once);
  size_t token = 0;
  int32_t head = 0;
  BlockFaults faults = 0;
  for (size_t first = 0; first < num_rows; first += at_once) {
    const size_t num = std::min(at_once, num_rows - first);
    for (size_t r = 0; r < num; ++r) {
      pointers[r] = rows.Row(token, head);
      if (++head == rows.num_heads) {
        head = 0;
        ++token;
      }
    }
    LoadRows(rows.dtype, pointers.data(), num, dim, values.data(), maxima.data());
    faults |= FindScales(bits, type, num, maxima, reciprocals,
                         reinterpret_cast<std::byte*>(scales.data()) + first * ScaleBytes(type));
    uint8_t* const out = codes.data() + first * row_bytes;
    QuantizeRows(values.data(), maxima.data(), reciprocals.data(), num, dim,
                 static_cast<float>(MaxCode(bits)), bits == 8 ? out : unpacked.data());
    if (bits == 8) continue;
    if (dim * bits % 8 == 0) {
      PackCodes(bits, unpacked.data(), num * dim, out);
    } else {
      for (size_t r = 0; r < num; ++r) {
        PackCodes(bits, unpacked.data() + r * dim, dim, out + r * row_bytes);
      }
    }
  }
  return faults;
}

}  // namespace qc2c
