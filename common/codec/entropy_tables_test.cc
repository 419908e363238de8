#include "common/codec/entropy_tables.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

namespace qc2c {
namespace {

struct Alphabet {
  CodeForm form;
  int bits;
};
constexpr Alphabet kAlphabets[] = {{CodeForm::kTwosComplement, 8}, {CodeForm::kTwosComplement, 4},
                                   {CodeForm::kTwosComplement, 3}, {CodeForm::kTwosComplement, 2},
                                   {CodeForm::kIndex, 4},          {CodeForm::kIndex, 2},
                                   {CodeForm::kIndex, 1}};

std::vector<uint32_t> Frequencies(const RansTable& table) {
  std::vector<uint32_t> frequencies;
  for (size_t s = 0; s < table.num_symbols(); ++s) {
    frequencies.push_back(table.Frequency(static_cast<uint8_t>(s)));
  }
  return frequencies;
}

TEST(EntropyTablesTest, EverySymbolCanBeCodedAndTheMiddleIsTheMostFrequent) {
  for (const Alphabet& alphabet : kAlphabets) {
    const auto tables = EntropyTables(alphabet.form, alphabet.bits);
    ASSERT_EQ(tables.size(), kNumEntropyTables);
    for (const RansTable& table : tables) {
      const std::vector<uint32_t> f = Frequencies(table);
      ASSERT_EQ(f.size(), size_t{1} << alphabet.bits);
      EXPECT_EQ(std::accumulate(f.begin(), f.end(), 0u), 1u << kRansBits);
      EXPECT_GE(*std::ranges::min_element(f), 1u);
      EXPECT_EQ(*std::ranges::max_element(f), f[f.size() / 2]);
    }
  }
}

// What proto/golden/rans.py computes on Python's integers.
TEST(EntropyTablesTest, TheFrequenciesAreThoseOfTheSecondImplementation) {
  const auto on_symbol = EntropyTables(CodeForm::kTwosComplement, 4);
  EXPECT_EQ(Frequencies(on_symbol[39]),
            (std::vector<uint32_t>{3, 11, 38, 115, 312, 747, 1580, 2952, 4871, 2952, 1580, 747, 312,
                                   115, 38, 11}));
  EXPECT_EQ(Frequencies(on_symbol[127]),
            (std::vector<uint32_t>{1018, 1020, 1022, 1023, 1024, 1025, 1026, 1026, 1034, 1026, 1026,
                                   1025, 1024, 1023, 1022, 1020}));
  const auto between = EntropyTables(CodeForm::kIndex, 2);
  EXPECT_EQ(Frequencies(between[0]), (std::vector<uint32_t>{29, 8162, 8164, 29}));
  EXPECT_EQ(Frequencies(between[69]), (std::vector<uint32_t>{2203, 5988, 5990, 2203}));
}

// Codes round(x / step) of N(0, 1) or of a Laplace distribution: by the definition of entropy no
// table is better than the distribution itself.
double Probability(double low, double high, bool normal) {
  const auto below = [normal](double x) {
    if (normal) return 0.5 * std::erfc(-x / std::sqrt(2.0));
    return x < 0 ? 0.5 * std::exp(x) : 1 - 0.5 * std::exp(-x);
  };
  return below(high) - below(low);
}

TEST(EntropyTablesTest, ATableIsNearTheEntropyOfNormalAndOfLaplaceCodes) {
  constexpr uint32_t kNum = 1 << 22;
  for (const int bits : {8, 4, 3}) {
    const int half = 1 << (bits - 1);
    for (const bool normal : {true, false}) {
      for (int i = 0; i < 16; ++i) {
        const double step = 0.06 * std::pow(1.3, i);
        if (4 / step > half) continue;  // tails that are clamped have another shape
        std::vector<uint32_t> counts;
        double entropy = 0;
        for (int code = -half; code < half; ++code) {
          const double p = Probability((code - 0.5) * step, (code + 0.5) * step, normal);
          counts.push_back(static_cast<uint32_t>(std::lround(p * kNum)));
          if (p > 0) entropy -= p * std::log2(p);
        }
        const uint32_t number = BestEntropyTable(CodeForm::kTwosComplement, bits, counts).number;
        const RansTable& table = EntropyTables(CodeForm::kTwosComplement, bits)[number - 1];
        double bits_a_code = 0;
        for (size_t s = 0; s < counts.size(); ++s) {
          bits_a_code += static_cast<double>(counts[s]) / kNum *
                         (kRansBits - std::log2(table.Frequency(static_cast<uint8_t>(s))));
        }
        // A frequency of at least 1 for each symbol is a share of the table.
        const double least = -std::log2(1 - std::ldexp(1.0, bits - kRansBits));
        EXPECT_LE(bits_a_code, entropy * 1.02 + 0.005 + least)
            << bits << " bits, step " << step << (normal ? " normal" : " Laplace");
      }
    }
  }
}

TEST(EntropyTablesTest, TheBestTableIsTheOneOfLeastExactCost) {
  const std::vector<uint32_t> counts = {3, 40, 500, 4000, 9000, 4100, 480, 44};
  const TableChoice best = BestEntropyTable(CodeForm::kTwosComplement, 3, counts);
  std::vector<double> costs;
  for (const RansTable& table : EntropyTables(CodeForm::kTwosComplement, 3)) {
    double cost = 0;
    for (size_t s = 0; s < counts.size(); ++s) {
      cost -= counts[s] * std::log2(table.Frequency(static_cast<uint8_t>(s)));
    }
    costs.push_back(cost);
  }
  const auto least = std::ranges::min_element(costs);
  EXPECT_EQ(least - costs.begin(), best.number - 1);
  const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
  EXPECT_NEAR(std::ldexp(static_cast<double>(best.cost), -kCostBits), total * kRansBits + *least,
              std::ldexp(total, -kCostBits));
}

TEST(EntropyTablesTest, FloatsHaveNoTables) {
  EXPECT_EQ(CodeFormOf(Scheme::kBf16), CodeForm::kNone);
  EXPECT_EQ(CodeFormOf(Scheme::kFp8E4m3), CodeForm::kNone);
  EXPECT_EQ(CodeFormOf(Scheme::kInt3), CodeForm::kTwosComplement);
  EXPECT_EQ(CodeFormOf(Scheme::kNf4), CodeForm::kIndex);
}

}  // namespace
}  // namespace qc2c
