#include "common/codec/group_statistic.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>
#include <vector>

namespace qc2c {
namespace {

std::vector<float> Values(size_t num, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(num);
  for (float& value : values) value = normal(random) * 10.0f;
  return values;
}

double Exact(Statistic statistic, const std::vector<float>& values) {
  double result = 0;
  for (const double x : values) {
    if (statistic == Statistic::kAbsmax) result = std::max(result, std::abs(x));
    if (statistic == Statistic::kMeanMagnitude) result += std::abs(x);
    if (statistic == Statistic::kRms) result += x * x;
  }
  return result;
}

constexpr Statistic kAll[] = {Statistic::kAbsmax, Statistic::kMeanMagnitude, Statistic::kRms};

// A sum of n positive terms in fp32 errs by less than n units of the last place.
TEST(GroupStatisticTest, IsTheMaximumOrTheSumWhateverTheLength) {
  for (const Statistic statistic : kAll) {
    for (const size_t num : {1, 5, 8, 9, 64, 100, 200}) {
      const std::vector<float> values = Values(num, static_cast<uint32_t>(num));
      const double exact = Exact(statistic, values);
      EXPECT_NEAR(RowStatistic(statistic, values.data(), num), exact, exact * num * 0x1p-23);
      RowsStatistic rows(statistic);
      ChannelsStatistic channels(statistic, 3);
      for (size_t t = 0; t < num; ++t) {
        rows.AddRow(RowStatistic(statistic, &values[t], 1));
        channels.AddRow(t, 1, &values[t], 1);
      }
      EXPECT_NEAR(rows.Total(), exact, exact * num * 0x1p-23);
      EXPECT_NEAR(channels.Total(1), exact, exact * num * 0x1p-23);
      EXPECT_EQ(channels.Total(0), 0.0f);
    }
  }
}

// 2^24 swallows a 1 that is added to it, so each result tells in which order was added.
TEST(GroupStatisticTest, AddsInTheOrderOfItsHeader) {
  constexpr float kBig = 0x1p24f;
  const auto sum = [](std::vector<float> values) {
    return RowStatistic(Statistic::kMeanMagnitude, values.data(), values.size());
  };
  // ((v0 + v4) + (v2 + v6)) + ...: v4 is lost beside v0, while v1 and v5 come together first.
  EXPECT_EQ(sum({kBig, 0, 0, 0, 1, 0, 0, 0}), kBig);
  EXPECT_EQ(sum({kBig, 1, 0, 0, 0, 1, 0, 0}), kBig + 2);
  // Eights 0 and 8 meet in partial sum 0; eights 1 and 9 in partial sum 1.
  std::vector<float> eights(80, 0.0f);
  eights[0] = kBig;
  eights[64] = 1;
  EXPECT_EQ(sum(eights), kBig);
  eights[64] = 0;
  eights[8] = eights[72] = 1;
  EXPECT_EQ(sum(eights), kBig + 2);

  const auto rows = [](size_t first, size_t second) {
    RowsStatistic statistic(Statistic::kMeanMagnitude);
    for (size_t r = 0; r < 600; ++r) {
      statistic.AddRow(r == 0 ? kBig : r == first || r == second ? 1.0f : 0.0f);
    }
    return statistic.Total();
  };
  EXPECT_EQ(rows(256, 512), kBig);    // all in partial sum 0
  EXPECT_EQ(rows(1, 257), kBig + 2);  // together in partial sum 1
  EXPECT_EQ(rows(128, 64), kBig);     // added to sum 0 one after the other
  EXPECT_EQ(rows(1, 129), kBig + 2);

  const auto channel = [](size_t first, size_t second) {
    ChannelsStatistic statistic(Statistic::kMeanMagnitude, 1);
    for (size_t t = 0; t < 20; ++t) {
      const float value = t == 0 ? -kBig : t == first || t == second ? 1.0f : 0.0f;
      statistic.AddRow(t, 0, &value, 1);
    }
    return statistic.Total(0);
  };
  EXPECT_EQ(channel(8, 16), kBig);
  EXPECT_EQ(channel(1, 9), kBig + 2);
  EXPECT_EQ(channel(4, 2), kBig);
}

}  // namespace
}  // namespace qc2c
