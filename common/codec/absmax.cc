#include "common/codec/absmax.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "common/codec/rows.h"
#include "common/codec/vector_clones.h"

namespace qc2c {
namespace {

using RowBuffer = std::array<float, KvLayout::kMaxHeadDim>;
using CodeBuffer = std::array<int8_t, KvLayout::kMaxHeadDim>;

// The loops over values; the arrays do not overlap, which lets them be vectorised.
QC2C_VECTOR_CLONES void QuantizeRow(const float* __restrict values, int32_t num, float scale,
                                    float qmax, int8_t* __restrict codes) {
  for (int32_t d = 0; d < num; ++d) {
    codes[d] = static_cast<int8_t>(AbsmaxCode(values[d], scale, qmax));
  }
}

QC2C_VECTOR_CLONES void DequantizeRow(const int8_t* __restrict codes, int32_t num, float scale,
                                      float* __restrict values) {
  for (int32_t d = 0; d < num; ++d) values[d] = static_cast<float>(codes[d]) * scale;
}

void StoreScale(float scale, ScaleType type, size_t index, MutableByteSpan scales) {
  uint8_t* const out = scales.data() + index * ScaleBytes(type);
  if (type == ScaleType::kFp32) {
    std::memcpy(out, &scale, sizeof(scale));
    return;
  }
  const uint16_t bits = type == ScaleType::kFp16 ? Fp32ToFp16(scale) : Fp32ToBf16(scale);
  std::memcpy(out, &bits, sizeof(bits));
}

// Turns the magnitude of a group into its stored scale.
float FinishGroup(uint32_t max_bits, int qmax, ScaleType type, size_t index, MutableByteSpan scales,
                  BlockFaults& faults) {
  if (max_bits >= kNotFiniteBits) {
    faults |= kNotFinite;
    return 0.0f;
  }
  const float scale = AbsmaxScale(std::bit_cast<float>(max_bits), qmax, type);
  if (std::isinf(scale)) {
    faults |= kOutOfRange;
    return 0.0f;
  }
  StoreScale(scale, type, index, scales);
  return scale;
}

// The scales of groups that span tokens, which need a pass of their own.
std::vector<float> ScalesOverTokens(const BlockRows& rows, Axis axis, int qmax, ScaleType type,
                                    MutableByteSpan scales, BlockFaults& faults) {
  std::vector<uint32_t> max_bits(NumScales(axis, rows.positions.size(), rows.num_heads), 0);
  RowBuffer values;
  for (size_t i = 0; i < rows.positions.size(); ++i) {
    for (int32_t h = 0; h < rows.num_heads; ++h) {
      LoadRow(rows.dtype, rows.Row(i, h), rows.head_dim, values.data());
      uint32_t& group = max_bits[ScaleIndex(axis, i, h, rows.num_heads)];
      group = std::max(group, MaxMagnitudeBits(values.data(), rows.head_dim));
    }
  }
  std::vector<float> widened;
  for (size_t g = 0; g < max_bits.size(); ++g) {
    widened.push_back(FinishGroup(max_bits[g], qmax, type, g, scales, faults));
  }
  return widened;
}

}  // namespace

float MinNormalScale(ScaleType type) {
  return type == ScaleType::kFp16 ? 0x1p-14f : std::numeric_limits<float>::min();
}

float AbsmaxErrorBound(float scale, int qmax, ScaleType type) {
  const float codes = static_cast<float>(qmax);
  return scale > 0.0f ? scale * (0.5f + codes * 0x1p-23f) : codes * MinNormalScale(type);
}

float AbsmaxScale(float amax, int qmax, ScaleType type) {
  float scale = amax / static_cast<float>(qmax);
  if (type == ScaleType::kFp16) scale = Fp16ToFp32(Fp32ToFp16(scale));
  if (type == ScaleType::kBf16) scale = Bf16ToFp32(Fp32ToBf16(scale));
  if (scale < MinNormalScale(type)) return 0.0f;
  // A scale that was rounded up near FLT_MAX would decode to infinity.
  const float largest = scale * static_cast<float>(qmax);
  return std::isinf(largest) ? largest : scale;
}

float LoadScale(ByteSpan scales, size_t index, ScaleType type) {
  const uint8_t* const in = scales.data() + index * ScaleBytes(type);
  if (type == ScaleType::kFp32) {
    float scale;
    std::memcpy(&scale, in, sizeof(scale));
    return scale;
  }
  uint16_t bits;
  std::memcpy(&bits, in, sizeof(bits));
  return type == ScaleType::kFp16 ? Fp16ToFp32(bits) : Bf16ToFp32(bits);
}

BlockFaults AbsmaxScheme::EncodeBlock(const BlockRows& rows, Axis axis, ScaleType scale_type,
                                      MutableByteSpan codes, MutableByteSpan scales) const {
  BlockFaults faults = 0;
  std::vector<float> shared;
  if (axis != Axis::kPerToken) {
    shared = ScalesOverTokens(rows, axis, qmax_, scale_type, scales, faults);
    if (faults != 0) return faults;
  }
  RowBuffer values;
  CodeBuffer row_codes;
  const size_t row_bytes = RowBytes(rows.head_dim);
  uint8_t* out = codes.data();
  for (size_t i = 0; i < rows.positions.size(); ++i) {
    for (int32_t h = 0; h < rows.num_heads; ++h, out += row_bytes) {
      LoadRow(rows.dtype, rows.Row(i, h), rows.head_dim, values.data());
      const size_t index = ScaleIndex(axis, i, h, rows.num_heads);
      const float scale = axis == Axis::kPerToken
                              ? FinishGroup(MaxMagnitudeBits(values.data(), rows.head_dim), qmax_,
                                            scale_type, index, scales, faults)
                              : shared[index];
      if (scale > 0.0f) {
        QuantizeRow(values.data(), rows.head_dim, scale, static_cast<float>(qmax_),
                    row_codes.data());
        PackRow(row_codes.data(), rows.head_dim, out);
      } else {
        std::memset(out, 0, row_bytes);
      }
    }
  }
  return faults;
}

void AbsmaxScheme::DecodeBlock(ByteSpan codes, ByteSpan scales, Axis axis, ScaleType scale_type,
                               const BlockRows& rows) const {
  RowBuffer values;
  CodeBuffer row_codes;
  const uint8_t* in = codes.data();
  for (size_t i = 0; i < rows.positions.size(); ++i) {
    for (int32_t h = 0; h < rows.num_heads; ++h, in += RowBytes(rows.head_dim)) {
      const float scale = LoadScale(scales, ScaleIndex(axis, i, h, rows.num_heads), scale_type);
      UnpackRow(in, rows.head_dim, row_codes.data());
      DequantizeRow(row_codes.data(), rows.head_dim, scale, values.data());
      StoreRow(rows.dtype, values.data(), rows.head_dim, rows.Row(i, h));
    }
  }
}

}  // namespace qc2c
