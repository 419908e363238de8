#include "experiments/statistics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace qc2c {
namespace {

// R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3, four decimals.
TEST(WilsonIntervalTest, EqualsThePublishedExamples) {
  struct Example {
    uint64_t correct, n;
    double low, high;
  };
  for (const Example& e : {Example{81, 263, 0.2553, 0.3662}, Example{15, 148, 0.0624, 0.1605},
                           Example{0, 20, 0.0000, 0.1611}, Example{1, 29, 0.0061, 0.1718}}) {
    const Interval interval = WilsonInterval(e.correct, e.n);
    EXPECT_NEAR(interval.low, e.low, 5e-5) << e.correct << " of " << e.n;
    EXPECT_NEAR(interval.high, e.high, 5e-5) << e.correct << " of " << e.n;
  }
}

TEST(WilsonIntervalTest, EndsAreTheRootsOfTheScoreEquation) {
  // By definition |p - x| = z * sqrt(x (1 - x) / n) at both ends.
  const double z = 1.959963984540054;
  for (const uint64_t correct : {1u, 272u, 989u, 1087u}) {
    const Interval interval = WilsonInterval(correct, 1088);
    for (const double x : {interval.low, interval.high}) {
      EXPECT_NEAR(std::abs(correct / 1088.0 - x), z * std::sqrt(x * (1 - x) / 1088), 1e-12);
    }
  }
}

TEST(WilsonIntervalTest, AllRightEndsAtOneAndNotAboveIt) {
  EXPECT_EQ(WilsonInterval(5, 5).high, 1.0);
  EXPECT_GT(WilsonInterval(5, 5).low, 0.5);
}

TEST(McNemarTest, EqualsTheBinomialTailInIntegers) {
  for (uint64_t won = 0; won <= 20; ++won) {
    for (uint64_t lost = 0; lost <= 20; ++lost) {
      const uint64_t n = won + lost;
      uint64_t coefficient = 1, tail = 0;  // C(40, 20) and 2^40 fit
      for (uint64_t k = 0; k <= std::min(won, lost); ++k) {
        tail += coefficient;
        coefficient = coefficient * (n - k) / (k + 1);
      }
      const double expected = std::min(1.0, 2.0 * tail / std::ldexp(1.0, static_cast<int>(n)));
      EXPECT_NEAR(McNemarExactP({won, lost, 100}), expected, 1e-12) << won << " " << lost;
    }
  }
}

TEST(McNemarTest, ManyDiscordantPairsNeitherUnderflowNorOverflow) {
  EXPECT_EQ(McNemarExactP({3000, 3000, 10000}), 1.0);
  const double p = McNemarExactP({2000, 1000, 10000});
  EXPECT_GE(p, 0.0);
  EXPECT_LT(p, 1e-60);
}

TEST(PairedDifferenceTest, EqualsTheClosedFormWithHalfAnObservationInEachCell) {
  // The approval ratings of A. Agresti, Categorical Data Analysis: 1,600 asked twice, 150 and 86
  // changed their minds. Difference 0.04, standard error 0.0095, interval (0.021, 0.059).
  const PairedCounts counts{150, 86, 1600};
  EXPECT_DOUBLE_EQ(PairedDifference(counts), 0.04);
  const Interval interval = PairedDifferenceInterval(counts);
  EXPECT_NEAR(interval.low, 0.021, 5e-4);
  EXPECT_NEAR(interval.high, 0.059, 5e-4);
}

TEST(PairedDifferenceTest, NoDiscordantPairStillLeavesDoubt) {
  // won = lost = 1/2, n + 2 = 12: the standard error is sqrt(1) / 12.
  const Interval interval = PairedDifferenceInterval({0, 0, 10});
  EXPECT_NEAR(interval.high, 1.959963984540054 / 12, 1e-12);
  EXPECT_NEAR(interval.low, -interval.high, 1e-12);
}

TEST(KlDivergenceTest, ComparesNormalisedDistributions) {
  // (1/2, 1/2) against (1/4, 3/4): ln 2 - ln 3 / 2, whatever the scores' common offset.
  EXPECT_NEAR(KlDivergence({-7, -7}, {std::log(1.0), std::log(3.0)}),
              std::log(2.0) - std::log(3.0) / 2, 1e-12);
  EXPECT_NEAR(KlDivergence({-1000, -3, -5}, {-998, -1, -3}), 0, 1e-12);
}

TEST(PercentileTest, InterpolatesBetweenOrderStatistics) {
  EXPECT_DOUBLE_EQ(Percentile({4, 1, 3, 2}, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(Percentile({4, 1, 3, 2}, 0.9), 3.7);
  EXPECT_DOUBLE_EQ(Percentile({4, 1, 3, 2}, 1.0), 4);
  EXPECT_DOUBLE_EQ(Percentile({7}, 0.5), 7);
  EXPECT_DOUBLE_EQ(Mean({1, 2, 6}), 3);
}

}  // namespace
}  // namespace qc2c
