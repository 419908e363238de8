#include "common/codec/rows.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "common/codec/vector_clones.h"

namespace qc2c {
namespace {

// Fp16ToFp32 without branches: a product by 2^112 rebases the exponent of normal and subnormal
// numbers alike, exactly; infinity and NaN get their exponent by hand.
float WidenFp16(uint16_t bits) {
  const uint32_t magnitude = static_cast<uint32_t>(bits & 0x7fffu) << 13;
  const uint32_t finite = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
  const uint32_t special = magnitude | 0x7f800000u;
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  return std::bit_cast<float>(sign | (magnitude >= 0x0f800000u ? special : finite));
}

// Fp32ToFp16 without branches. Below the normal numbers of fp16, adding 1/2 rounds to a multiple of
// 2^-24, which is the unit of its subnormal ones.
uint16_t NarrowFp16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t subnormal =
      std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  const uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const uint32_t finite = magnitude < 0x38800000u ? subnormal : normal;
  const uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  const uint32_t sign = (bits >> 16) & 0x8000u;
  return static_cast<uint16_t>(sign | (magnitude >= 0x47800000u ? special : finite));
}

// Fp32ToBf16 without branches.
uint16_t NarrowBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t nan = (bits >> 16) | 0x40u;
  return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

// One row and its largest magnitude, in one pass.
template <typename Bits, typename Widen>
inline uint32_t LoadWithMax(const Bits* __restrict row, size_t num, Widen widen,
                            float* __restrict out) {
  uint32_t max = 0;
  for (size_t i = 0; i < num; ++i) {
    out[i] = widen(row[i]);
    max = std::max(max, std::bit_cast<uint32_t>(out[i]) & 0x7fffffffu);
  }
  return max;
}

}  // namespace

QC2C_VECTOR_CLONES void LoadRows(DType dtype, const std::byte* const* rows, size_t num_rows,
                                 size_t num, float* out, float* maxima) {
  for (size_t r = 0; r < num_rows; ++r, out += num) {
    const auto* const half = reinterpret_cast<const uint16_t*>(rows[r]);
    uint32_t max = 0;
    if (dtype == DType::kBf16) {
      uint16_t upper = 0;  // of the maximum's bits
      for (size_t i = 0; i < num; ++i) {
        upper = std::max<uint16_t>(upper, half[i] & 0x7fffu);
        out[i] = Bf16ToFp32(half[i]);
      }
      max = static_cast<uint32_t>(upper) << 16;
    } else if (dtype == DType::kFp16) {
      max = LoadWithMax(half, num, [](uint16_t bits) { return WidenFp16(bits); }, out);
    } else {
      max = LoadWithMax(
          reinterpret_cast<const float*>(rows[r]), num, [](float value) { return value; }, out);
    }
    maxima[r] = std::bit_cast<float>(max);
  }
}

QC2C_VECTOR_CLONES void LoadRow(DType dtype, const std::byte* row, size_t num, float* out) {
  const auto* const half = reinterpret_cast<const uint16_t*>(row);
  switch (dtype) {
    case DType::kFp32:
      std::memcpy(out, row, num * sizeof(float));
      return;
    case DType::kBf16:
      for (size_t i = 0; i < num; ++i) out[i] = Bf16ToFp32(half[i]);
      return;
    case DType::kFp16:
      for (size_t i = 0; i < num; ++i) out[i] = WidenFp16(half[i]);
      return;
  }
}

QC2C_VECTOR_CLONES void StoreRow(DType dtype, const float* values, size_t num, std::byte* row) {
  auto* const half = reinterpret_cast<uint16_t*>(row);
  switch (dtype) {
    case DType::kFp32:
      std::memcpy(row, values, num * sizeof(float));
      return;
    case DType::kBf16:
      for (size_t i = 0; i < num; ++i) half[i] = NarrowBf16(values[i]);
      return;
    case DType::kFp16:
      for (size_t i = 0; i < num; ++i) half[i] = NarrowFp16(values[i]);
      return;
  }
}

QC2C_VECTOR_CLONES uint32_t MaxMagnitudeBits(const float* values, size_t num) {
  int32_t max = 0;  // signed: without the sign bit the order is the same, and SSE2 compares signed
  for (size_t i = 0; i < num; ++i) {
    max = std::max(max, std::bit_cast<int32_t>(values[i]) & 0x7fffffff);
  }
  return static_cast<uint32_t>(max);
}

}  // namespace qc2c
