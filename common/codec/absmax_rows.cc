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
                                     size_t num_rows, size_t dim, float qmax,
                                     uint8_t* __restrict codes) {
  for (size_t r = 0; r < num_rows; ++r) {
    const float* __restrict const row = values + r * dim;
    uint8_t* __restrict const out = codes + r * dim;
    const float scale = scales[r];
    const float reciprocal = scale > 0.0f ? 1.0f / scale : 0.0f;
    uint32_t nearest = kBelowCode;
    for (size_t d = 0; d < dim; ++d) {
      const float sum = row[d] * reciprocal + kProductMagic;
      const uint32_t bits = 2 * std::bit_cast<uint32_t>(sum) + kProductOffset;
      nearest = std::min(nearest, bits & kBelowCode);
      out[d] = static_cast<uint8_t>(bits >> kProductCodeBit);
    }
    if (nearest > kNextToTie) continue;
    const float divisor = scale > 0.0f ? scale : std::numeric_limits<float>::infinity();
    for (size_t d = 0; d < dim; ++d) {
      out[d] = static_cast<uint8_t>(AbsmaxCode(row[d], divisor, qmax));
    }
  }
}

// From maxima to the scales that are stored, in place: ScaleOf and StoreScale (scaled_scheme.h) of
// many rows at a time.
BlockFaults FindScales(int bits, ScaleType type, std::vector<float>& maxima, size_t num,
                       std::byte* stored) {
  const ScaleRule rule = AbsmaxRule(bits);
  const DType dtype = DTypeOf(type);
  const float least = MinNormalScale(type);
  BlockFaults faults = 0;
  for (size_t r = 0; r < num; ++r) {
    if (!std::isfinite(maxima[r])) {
      faults |= kNotFinite;
      maxima[r] = 0.0f;
    }
    maxima[r] = maxima[r] / rule.divisor;
  }
  StoreRow(dtype, maxima.data(), num, stored);
  LoadRow(dtype, stored, num, maxima.data());
  for (size_t r = 0; r < num; ++r) {
    if (maxima[r] < least) maxima[r] = 0.0f;
    // A scale that was rounded up near the largest number would decode to infinity.
    if (!std::isfinite(maxima[r] * rule.top)) faults |= kOutOfRange;
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
  std::vector<float> values(at_once * dim), maxima(at_once);
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
    faults |= FindScales(bits, type, maxima, num,
                         reinterpret_cast<std::byte*>(scales.data()) + first * ScaleBytes(type));
    uint8_t* const out = codes.data() + first * row_bytes;
    QuantizeRows(values.data(), maxima.data(), num, dim, static_cast<float>(MaxCode(bits)),
                 bits == 8 ? out : unpacked.data());
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
