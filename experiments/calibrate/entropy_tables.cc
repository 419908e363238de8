#include "experiments/calibrate/entropy_tables.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include "common/codec/klt_codebook.h"

namespace qc2c {
namespace {

// Real tails are longer than any of the two densities': an escape costs at most 12 bits.
constexpr int kLeastEscape = 4;

// P(X <= x) for a standard deviation of 1.
double Below(int shape, double x) {
  if (shape == 0) return 0.5 * std::erfc(-x / std::numbers::sqrt2);
  const double tail = 0.5 * std::exp(-std::abs(x) * std::numbers::sqrt2);
  return x < 0 ? tail : 1 - tail;
}

std::vector<int16_t> MakeTable(int shape, int spread) {
  constexpr int kTotal = 1 << kRansBits;
  const double sigma = std::exp2(spread / 4.0);
  std::vector<int16_t> table(kKltNumSymbols, 0);
  for (int value = 1; value <= kKltLargestValue; ++value) {
    const double share = Below(shape, (value + 0.5) / sigma) - Below(shape, (value - 0.5) / sigma);
    const auto frequency = static_cast<int16_t>(std::lround(share * kTotal));
    table[kKltLargestValue + value] = table[kKltLargestValue - value] = frequency;
  }
  const double beyond = 2 * Below(shape, -(kKltLargestValue + 0.5) / sigma);
  table[kKltEscape] =
      static_cast<int16_t>(std::max<int64_t>(kLeastEscape, std::lround(beyond * kTotal)));
  // What is left is value 0's, by far the most in narrow tables and one of many in wide ones.
  const int others = std::accumulate(table.begin(), table.end(), 0);
  table[kKltLargestValue] = static_cast<int16_t>(kTotal - others);
  return table;
}

}  // namespace

std::vector<int16_t> MakeEntropyTables() {
  std::vector<int16_t> tables;
  for (int shape = 0; shape < kKltNumShapes; ++shape) {
    for (int spread = kKltMinSpread; spread <= kKltMaxSpread; ++spread) {
      const std::vector<int16_t> table = MakeTable(shape, spread);
      tables.insert(tables.end(), table.begin(), table.end());
    }
  }
  return tables;
}

}  // namespace qc2c
