// Symmetric absmax quantization: int8, int4, int3 and int2_absmax.
//
// Codes are b-bit two's complement numbers from -qmax to qmax = 2^(b-1) - 1; the lowest number of
// the width is never written, and decodes as itself. With the scale of scale_rule.h (kAbsmax,
// divisor qmax):
//   code = clamp(rint(x / scale), -qmax, qmax)      in fp32, ties to even, by the *stored* scale
//   x^   = code * scale                             in fp32, then rounded to the output's dtype
// Values of scale 0 have code 0.
//
// Error, before the output's own rounding:  |x - x^| <= AbsmaxErrorBound(scale, qmax, type), that
// is
//   scale > 0:   scale * (1/2 + qmax * 2^-23)
//   scale = 0:   qmax * MinNormalScale(type)
// Rounding to the nearest code costs scale / 2. The quotient's and the product's own rounding cost
// at most qmax * 2^-24 scales each. Clamping adds nothing: a stored scale is below amax / qmax by
// at most (2^-p + 2^-24) * scale, p being the bits of its significand (fp16 and two levels 11,
// bf16 8, fp32 24),
// so a clamped value misses by at most qmax * (2^-p + 2^-24) scales, and 127 * (2^-8 + 2^-24) <
// 1/2.
#pragma once

#include <bit>
#include <cstdint>

#include "common/codec/scaled_scheme.h"

namespace qc2c {

// The largest code of a width of `bits`.
constexpr int MaxCode(int bits) { return (1 << (bits - 1)) - 1; }

constexpr ScaleRule AbsmaxRule(int bits) {
  return {Statistic::kAbsmax, static_cast<float>(MaxCode(bits)), static_cast<float>(MaxCode(bits))};
}

float AbsmaxErrorBound(float scale, int qmax, ScaleType type);

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

const SchemeCoder* Int8Scheme();
const SchemeCoder* Int4Scheme();
const SchemeCoder* Int3Scheme();
const SchemeCoder* Int2AbsmaxScheme();

}  // namespace qc2c
