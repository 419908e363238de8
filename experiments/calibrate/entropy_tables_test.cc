#include "experiments/calibrate/entropy_tables.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "common/codec/klt_codebook.h"

namespace qc2c {
namespace {

// Bits of values of a normal density under its table, against the entropy of the rounded density by
// numerical integration.
TEST(EntropyTablesTest, ANormalValueCostsLittleMoreThanItsEntropy) {
  const std::vector<int16_t> tables = MakeEntropyTables();
  for (const int spread : {-12, -6, 0, 4, 8, 16}) {
    const double sigma = std::exp2(spread / 4.0);
    const int16_t* table = tables.data() + (spread - kKltMinSpread) * kKltNumSymbols;
    double entropy = 0, cost = 0;
    for (int value = -63; value <= 63; ++value) {
      double share = 0;
      for (int i = 0; i < 200; ++i) {
        const double x = (value - 0.5 + (i + 0.5) / 200) / sigma;
        share += std::exp(-x * x / 2) / std::sqrt(2 * M_PI) / sigma / 200;
      }
      if (share < 1e-12) continue;
      const int frequency = table[value + kKltLargestValue];
      entropy -= share * std::log2(share);
      // An escape, and a byte or two behind it.
      cost += share * (frequency > 0 ? -std::log2(frequency / 16384.0) : 12 + 16);
    }
    EXPECT_GE(cost, entropy - 1e-6) << spread;
    EXPECT_LE(cost, entropy + 0.02) << spread;
  }
}

TEST(EntropyTablesTest, EveryTableIsOneThatARansCoderTakes) {
  const std::vector<int16_t> tables = MakeEntropyTables();
  ASSERT_EQ(tables.size(), kKltNumShapes * kKltNumSpreads * kKltNumSymbols);
  for (size_t begin = 0; begin < tables.size(); begin += kKltNumSymbols) {
    int sum = 0;
    for (int i = 0; i < kKltNumSymbols; ++i) {
      ASSERT_GE(tables[begin + i], 0);
      sum += tables[begin + i];
    }
    EXPECT_EQ(sum, 1 << kRansBits);
    EXPECT_GE(tables[begin + kKltEscape], 1);
    EXPECT_GE(tables[begin + kKltLargestValue], 1);
  }
}

}  // namespace
}  // namespace qc2c
