// absmax.h's codes by a product with the scale's reciprocal instead of a quotient, for the CPU and
// CUDA. Free of other headers, so that CUDA sources can include it too.
//
// Added to kProductMagic = 1.5 * 2^8, the product is rounded to a multiple of 2^-15 = 1 unit, of
// which the sum's bits are the number. Twice these bits, plus kProductOffset, have the nearest
// integer from bit kProductCodeBit on (eight bits, two's complement), and below it twice how far
// the product is above a tie, kTieUnits added.
//
// With quotients below 128: the reciprocal is off by 2^-17 at most, the product by 2^-18 (by
// nothing where it is fused with the sum) and the sum by 2^-16, and AbsmaxCode's own quotient by
// 2^-18: together by a unit. So both round alike but within a unit of a tie, and what comes within
// kTieUnits of one (kNextToTie) must be divided. No clamp: by the derivation in
// absmax.h no quotient reaches qmax + 1/2. A scale of 0 comes with a reciprocal of 0 and gives
// codes of 0.
#pragma once

#include <cstdint>

namespace qc2c {

inline constexpr float kProductMagic = 0x1.8p8f;
inline constexpr uint32_t kProductCodeBit = 16;
inline constexpr uint32_t kTieUnits = 2;
// Twice kProductMagic's bits have 0x80 where the code is to be; half an integer rounds.
inline constexpr uint32_t kProductOffset =
    (0x80u << kProductCodeBit) + (1u << (kProductCodeBit - 1)) + 2 * kTieUnits;
// Of the bits below the code: next to a tie if they are no more.
inline constexpr uint32_t kBelowCode = (1u << kProductCodeBit) - 1;
inline constexpr uint32_t kNextToTie = 4 * kTieUnits;

}  // namespace qc2c
