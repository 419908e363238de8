// Symmetric absmax quantization, the family of int8 and int4.
//
// The values that share a scale (Axis) are a group. With amax its largest magnitude and qmax the
// largest code:
//   scale = round(amax / qmax)                      in fp32, then to the stored type, ties to even
//   code  = clamp(rint(x / scale), -qmax, qmax)     in fp32, ties to even, by the *stored* scale
//   x^    = code * scale                            in fp32, then rounded to the output's dtype
// A group whose stored scale is not a normal number of its type (all zeros, or amax below about
// qmax * MinNormalScale) gets scale 0 and codes 0. A scale that overflows its type (fp16 and
// amax / qmax of 65520 or more), or whose largest code would decode to infinity, is a fault:
// nothing saturates.
//
// Error, before the output's own rounding:  |x - x^| <= AbsmaxErrorBound(scale, qmax, type), that
// is
//   scale > 0:   scale * (1/2 + qmax * 2^-23)
//   scale = 0:   qmax * MinNormalScale(type)
// Rounding to the nearest code costs scale / 2. The quotient's and the product's own rounding cost
// at most qmax * 2^-24 scales each. Clamping adds nothing: a stored scale is below amax / qmax by
// at most (2^-p + 2^-24) * scale, p being the bits of its significand (fp16 11, bf16 8, fp32 24),
// so a clamped value misses by at most qmax * (2^-p + 2^-24) scales, and 127 * (2^-8 + 2^-24) <
// 1/2.
#pragma once

#include <bit>
#include <cstdint>

#include "common/codec/scheme.h"

namespace qc2c {

// 2^-14 for fp16, 2^-126 for bf16 and fp32.
float MinNormalScale(ScaleType type);

float AbsmaxErrorBound(float scale, int qmax, ScaleType type);

// The stored scale, widened, of a group whose largest magnitude is the finite `amax`: 0, a normal
// number of `type`, or infinity if the group cannot be stored.
float AbsmaxScale(float amax, int qmax, ScaleType type);

// Scales in a frame: little-endian, `index` counts scales.
float LoadScale(ByteSpan scales, size_t index, ScaleType type);

// rint(x / scale), clamped to [-qmax, qmax]. REQUIRES: scale > 0, x not NaN.
inline int32_t AbsmaxCode(float x, float scale, float qmax) {
  // Adding 1.5 * 2^23 leaves the nearest integer, ties to even, in the low bits: unlike std::rint,
  // plain SSE2 does this to four values at once. Clamping first is the same, as qmax is an integer.
  constexpr float kMagic = 0x1.8p23f;
  const float quotient = x / scale;
  const float low = quotient < qmax ? quotient : qmax;
  const float clamped = low > -qmax ? low : -qmax;
  return std::bit_cast<int32_t>(clamped + kMagic) - std::bit_cast<int32_t>(kMagic);
}

// A scheme is its largest code and how the codes of one row, a byte each, become packed bytes and
// back.
class AbsmaxScheme : public SchemeCoder {
 public:
  explicit AbsmaxScheme(int qmax) : qmax_(qmax) {}

  bool has_scales() const final { return true; }

  BlockFaults EncodeBlock(const BlockRows& rows, Axis axis, ScaleType scale_type,
                          MutableByteSpan codes, MutableByteSpan scales) const final;
  void DecodeBlock(ByteSpan codes, ByteSpan scales, Axis axis, ScaleType scale_type,
                   const BlockRows& rows) const final;

 private:
  // codes: D of them, in [-qmax, qmax]. row: RowBytes(D).
  virtual void PackRow(const int8_t* codes, int32_t head_dim, uint8_t* row) const = 0;
  virtual void UnpackRow(const uint8_t* row, int32_t head_dim, int8_t* codes) const = 0;

  int qmax_;
};

}  // namespace qc2c
