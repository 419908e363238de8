// Schemes whose codes are indices into a short table of levels, and their tables: free of any other
// header so that CUDA sources can include it too.
//
//   x^   = level[code] * scale              in fp32, then rounded to the output's dtype
//   code = how many of the thresholds t[i] * scale are at most x
// t[i] lies half-way between level i and level i + 1, so that the code is the nearest level's; a
// value on a threshold takes the upper one. A group of scale 0 has the code of the smallest level
// that is not negative. Codes are unsigned, the lowest level's 0.
//
//   int2         +-1/2, +-3/2 times absmax / 2 (mid-rise: no level is 0)
//   int2_lloyd   the four levels of least squared error for normal values (Lloyd and Max) times rms
//   binary       +-1 times the mean magnitude: a sign
//   nf4          the 16 levels of QLoRA's NormalFloat (arXiv:2305.14314, appendix E) times absmax
//
// Error, before the output's own rounding: with `half_gap` half the largest distance of two levels
// and `top` the largest level,
//   |x - x^| <= max(half_gap * scale, |x| - top * scale) * (1 + 2^-21)
// The first is a value among the levels, the second one beyond them; thresholds, products and the
// sum round once each. For nf4 and int2 the second never exceeds the first by more than the
// rounding of the scale; int2_lloyd and binary do not bound their tail.
#pragma once

#include <cstdint>

#include "common/codec/scale_rule.h"

namespace qc2c {

struct LevelTable {
  static constexpr uint32_t kMaxLevels = 16;

  ScaleRule rule;
  uint32_t bits = 0;  // 2^bits levels
  float levels[kMaxLevels] = {};
  float thresholds[kMaxLevels - 1] = {};

  constexpr uint32_t num_levels() const { return 1u << bits; }
  constexpr float top() const { return levels[num_levels() - 1]; }
  // The code of a group of scale 0.
  constexpr uint32_t ZeroCode() const {
    uint32_t code = 0;
    while (levels[code] < 0.0f) ++code;
    return code;
  }
};

template <uint32_t kCount>
constexpr LevelTable MakeLevels(Statistic statistic, float divisor, const float (&levels)[kCount]) {
  LevelTable table;
  table.rule = {statistic, divisor, levels[kCount - 1]};
  while (table.num_levels() < kCount) ++table.bits;
  for (uint32_t i = 0; i < kCount; ++i) table.levels[i] = levels[i];
  for (uint32_t i = 0; i + 1 < kCount; ++i) {
    table.thresholds[i] = 0.5f * (levels[i] + levels[i + 1]);
  }
  return table;
}

inline constexpr LevelTable kInt2Levels =
    MakeLevels(Statistic::kAbsmax, 2.0f, {-1.5f, -0.5f, 0.5f, 1.5f});
// The fixed point of Lloyd's iteration for N(0, 1), to fp32.
inline constexpr LevelTable kInt2LloydLevels =
    MakeLevels(Statistic::kRms, 1.0f, {-1.5104176f, -0.45278004f, 0.45278004f, 1.5104176f});
inline constexpr LevelTable kBinaryLevels =
    MakeLevels(Statistic::kMeanMagnitude, 1.0f, {-1.0f, 1.0f});
inline constexpr LevelTable kNf4Levels = MakeLevels(
    Statistic::kAbsmax, 1.0f,
    {-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
     -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
     0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
     0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f});

}  // namespace qc2c
