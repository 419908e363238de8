// fp32 <-> the 8-bit floats, on the CPU and in CUDA sources: free of abseil. Rounds to
// nearest, ties to even, subnormal numbers included. From kFirstOverflow on, which is half a unit
// of the last place beyond the largest finite number, a value becomes infinity, or NaN where there
// is none.
//
//   Fp8E4m3   1 sign, 4 exponent (bias 7), 3 fraction bits; no infinity, 0x7f and 0xff are NaN; up
//             to 448 (the "fn" variant)
//   Fp8E5m2   1 sign, 5 exponent (bias 15), 2 fraction bits; infinity and NaN as in IEEE 754; up to
//             57344
#pragma once

#include <cstdint>

#include "common/codec/host_device.h"

namespace qc2c {

// `bits` are those of an fp32 throughout, so that neither side needs the other's bit casts.
template <uint32_t kFraction, uint32_t kBias, uint32_t kFirst>
struct Fp8 {
  // The magnitude bits of the first fp32 that has no finite code.
  static constexpr uint32_t kFirstOverflow = kFirst;

  static constexpr QC2C_HOST_DEVICE uint8_t Narrow(uint32_t bits) {
    const uint32_t sign = bits >> 24 & 0x80u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude >= kFirst) {
      const bool has_infinity = kFraction == 2;
      return static_cast<uint8_t>(sign |
                                  (has_infinity && magnitude <= 0x7f800000u ? 0x7cu : 0x7fu));
    }
    constexpr uint32_t kMinExponent = 127 - kBias + 1;  // of a normal number, in fp32's bias
    const uint32_t exponent = magnitude >> 23;
    if (exponent >= kMinExponent) {
      const uint32_t half = (1u << (22 - kFraction)) - 1 + (magnitude >> (23 - kFraction) & 1u);
      const uint32_t rebased = magnitude - ((127 - kBias) << 23) + half;
      return static_cast<uint8_t>(sign | rebased >> (23 - kFraction));
    }
    // Subnormal: the fraction in units of the smallest number, 2^(1 - bias - kFraction).
    const uint32_t shift = kMinExponent - exponent + 23 - kFraction;
    if (shift > 25) return static_cast<uint8_t>(sign);
    const uint32_t fraction = (magnitude & 0x7fffffu) | 0x800000u;
    const uint32_t kept = fraction >> shift;
    const uint32_t half = (1u << (shift - 1)) - 1 + (kept & 1u);
    return static_cast<uint8_t>(sign | (fraction + half) >> shift);
  }

  // The fp32 bits of a code; exact.
  static constexpr QC2C_HOST_DEVICE uint32_t Widen(uint8_t code) {
    const uint32_t sign = static_cast<uint32_t>(code & 0x80u) << 24;
    const uint32_t magnitude = code & 0x7fu;
    constexpr uint32_t kTop = 0x7fu >> kFraction;  // the largest exponent
    if (kFraction == 3 ? magnitude == 0x7fu : magnitude > kTop << kFraction) {
      return sign | 0x7fc00000u;
    }
    if (kFraction == 2 && magnitude == kTop << kFraction) return sign | 0x7f800000u;
    const uint32_t exponent = magnitude >> kFraction;
    uint32_t fraction = magnitude & ((1u << kFraction) - 1);
    if (exponent != 0) {
      return sign | (exponent + 127 - kBias) << 23 | fraction << (23 - kFraction);
    }
    if (fraction == 0) return sign;
    uint32_t shift = 0;
    while ((fraction >> kFraction) == 0) {
      fraction <<= 1;
      ++shift;
    }
    fraction &= (1u << kFraction) - 1;
    return sign | (128 - kBias - shift) << 23 | fraction << (23 - kFraction);
  }
};

using Fp8E4m3 = Fp8<3, 7, 0x43e80001u>;   // 464 is the tie between 448 and what would be 480
using Fp8E5m2 = Fp8<2, 15, 0x47700000u>;  // 61440, a tie that goes to infinity

}  // namespace qc2c
