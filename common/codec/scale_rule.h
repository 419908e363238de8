// How the values that share a scale get it, free of any other header so that CUDA sources can
// include it too.
//
//   scale = round(statistic / divisor)      in fp32, then to the stored type, ties to even
//
// The statistic of n values x, in fp32:
//   kAbsmax         max |x|
//   kMeanMagnitude  sum(|x|) / n
//   kRms            sqrt(sum(x * x) / n)
// A scale that is not a normal number of its type is 0, and all values decode to 0. A scale that
// overflows its type, or whose largest level would decode to infinity, or a sum that overflows is a
// fault: nothing saturates.
//
// Scales of two levels (ScaleType::kTwoLevel) have one fp16 a row and a byte for each of its
// groups. With s the groups' statistic / divisor and m the largest of them, in fp32:
//   row   = round(m * kRowMargin)                 to fp16, ties to even; 0 if that is not normal
//   byte  = min(255, ceil(s * 256 / row))         0 if row is 0
//   scale = row * byte / 256                      exact
// A scale is s or above it by less than row / 256, but for rounding: the group of the largest may
// have one that is smaller by 2^-11 of itself, as with an fp16 a group.
//
// Sums have a fixed order, the same on every device. Along a row (or a group of it), eight
// consecutive values are added as ((v0 + v4) + (v2 + v6)) + ((v1 + v5) + (v3 + v7)), what is
// missing at the end being 0; the sum of the c-th eight goes to partial sum c mod 8, in order, and
// the eight partial sums are added likewise. Over the rows of a block (per_head, per_layer), the
// sum of the r-th row (token by token, in a token by head) goes to partial sum r mod 256, in order;
// then sum j takes sum j + 128, then j + 64, ..., then j + 1. Over tokens alone (per_channel,
// group_tokens), the value of the t-th token goes to partial sum t mod 8, added as above.
#pragma once

#include <cstdint>

namespace qc2c {

enum class Statistic : uint8_t { kAbsmax, kMeanMagnitude, kRms };

struct ScaleRule {
  Statistic statistic = Statistic::kAbsmax;
  float divisor = 1.0f;
  float top = 1.0f;  // the largest level: what a scale is multiplied with at most
};

// A little more than 1: the byte of the largest group is then at most 255.
inline constexpr float kRowMargin = 256.0f / 255.0f;

inline constexpr uint32_t kRowPartials = 8;
inline constexpr uint32_t kBlockPartials = 256;

}  // namespace qc2c
