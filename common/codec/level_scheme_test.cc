#include "common/codec/level_scheme.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "common/codec/test_cache.h"

namespace qc2c {
namespace {

const std::pair<std::string, const LevelTable*> kTables[] = {
    {"int2", &kInt2Levels},
    {"int2_lloyd", &kInt2LloydLevels},
    {"binary", &kBinaryLevels},
    {"nf4", &kNf4Levels},
};

double Density(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * M_PI); }
double Distribution(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

double Quantile(double p) {
  double low = -10;
  double high = 10;
  for (int i = 0; i < 200; ++i) {
    const double middle = (low + high) / 2;
    (Distribution(middle) < p ? low : high) = middle;
  }
  return low;
}

TEST(LevelsTest, AscendWithThresholdsHalfWayBetween) {
  for (const auto& [name, table] : kTables) {
    for (uint32_t i = 0; i + 1 < table->num_levels(); ++i) {
      EXPECT_LT(table->levels[i], table->thresholds[i]) << name;
      EXPECT_LT(table->thresholds[i], table->levels[i + 1]) << name;
      EXPECT_NEAR(table->thresholds[i], (table->levels[i] + table->levels[i + 1]) / 2, 1e-7);
    }
    EXPECT_EQ(table->rule.top, table->top());
  }
}

// The construction of QLoRA (arXiv:2305.14314, appendix E, and its public code): quantiles of the
// normal distribution on evenly spaced probabilities, eight on the side above 0 and seven below, 0
// itself, divided by the largest. Its own tables were rounded to fp32 on the way.
TEST(LevelsTest, Nf4IsTheNormalFloatOfQlora) {
  constexpr double kOffset = 0.9677083;
  std::vector<double> levels = {0.0};
  for (int i = 0; i < 8; ++i) levels.push_back(Quantile(kOffset + (0.5 - kOffset) * i / 8));
  for (int i = 0; i < 7; ++i) levels.push_back(-Quantile(kOffset + (0.5 - kOffset) * i / 7));
  std::ranges::sort(levels);
  ASSERT_EQ(levels.size(), kNf4Levels.num_levels());
  for (size_t i = 0; i < levels.size(); ++i) {
    EXPECT_NEAR(kNf4Levels.levels[i], levels[i] / levels.back(), 1e-6) << i;
  }
}

// Lloyd's condition: each level is the mean of the normal values that are nearest to it.
TEST(LevelsTest, LloydLevelsAreTheMeansOfTheirCells) {
  const LevelTable& table = kInt2LloydLevels;
  for (uint32_t i = 0; i < table.num_levels(); ++i) {
    const double low = i == 0 ? -40 : table.thresholds[i - 1];
    const double high = i + 1 == table.num_levels() ? 40 : table.thresholds[i];
    const double mean = (Density(low) - Density(high)) / (Distribution(high) - Distribution(low));
    EXPECT_NEAR(table.levels[i], mean, 1e-6) << i;
  }
}

class LevelSchemeTest : public testing::TestWithParam<DeviceType> {};

// Values that are multiples of 1/32 and scales that are powers of two: nothing rounds, so the code
// must be the nearest level's, and the upper one's on a threshold.
TEST_P(LevelSchemeTest, EveryValueTakesItsNearestLevel) {
  SKIP_WITHOUT(GetParam());
  constexpr KvLayout kLayout = {.num_layers = 1, .num_kv_heads = 1, .head_dim = 129};
  for (const auto& [name, table] : kTables) {
    TestCache cache(kLayout, 1, DType::kFp32, GetParam());
    // -2 .. 2; their largest magnitude, mean magnitude and root mean square are not what is tested.
    cache.Fill([](int, Half, int64_t, int, int d) { return static_cast<float>(d - 64) / 32.0f; });
    const auto frame = Encode(cache, name + ",scale=fp32");
    ASSERT_TRUE(frame.ok()) << frame.status();
    float scale;
    std::memcpy(&scale, frame->Scales(frame->blocks[0]).data(), sizeof(scale));
    const std::vector<float> before = cache.Values();
    ASSERT_TRUE(DecodeCache(*frame, cache.View()).ok());
    const std::vector<float> after = cache.Values();
    for (size_t d = 0; d < 129; ++d) {
      float best = table->levels[0];
      for (uint32_t i = 1; i < table->num_levels(); ++i) {
        const double distance = std::abs(double{table->levels[i]} * scale - before[d]);
        if (distance <= std::abs(double{best} * scale - before[d])) best = table->levels[i];
      }
      // Within a rounding of a threshold either neighbour is right.
      const double slack = 4 * scale * 0x1p-24;
      EXPECT_LE(std::abs(after[d] - before[d]), std::abs(double{best} * scale - before[d]) + slack)
          << name << " at " << before[d];
    }
  }
}

TEST_P(LevelSchemeTest, AValueOnAThresholdTakesTheUpperLevel) {
  SKIP_WITHOUT(GetParam());
  TestCache cache({.num_layers = 1, .num_kv_heads = 1, .head_dim = 8}, 1, DType::kFp32, GetParam());
  // amax 4, so that int2's scale is 2 and its thresholds -2, 0 and 2.
  constexpr float kValues[] = {4, -4, 2, -2, 0, -0.0f, 1, -1};
  cache.Fill([&](int, Half, int64_t, int, int d) { return kValues[d]; });
  const auto frame = Encode(cache, "int2");
  ASSERT_TRUE(frame.ok()) << frame.status();
  // 3 0 3 1 | 2 2 2 1, from the lowest bits.
  EXPECT_EQ(ToHex(frame->Codes(frame->blocks[0])), "736a");
  EXPECT_EQ(ToHex(frame->Scales(frame->blocks[0])), "0040");  // 2 in fp16
}

// A sum of squares that overflows cannot be stored whatever the scale's type.
TEST_P(LevelSchemeTest, AStatisticThatOverflowsIsRefused) {
  SKIP_WITHOUT(GetParam());
  for (const std::string axis : {"per_token", "per_head", "per_layer", "per_channel", "group"}) {
    TestCache cache({.num_layers = 1, .num_kv_heads = 1, .head_dim = 3}, 2, DType::kFp32,
                    GetParam());
    cache.Fill([](int, Half half, int64_t t, int, int d) {
      return half == Half::kValue && t == 1 && d == 2 ? 3e19f : 1.0f;
    });
    const absl::Status status = Encode(cache, "int2_lloyd,scale=fp32,axis=" + axis).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()),
                testing::HasSubstr("layer 0 value holds values too"));
    EXPECT_TRUE(Encode(cache, "nf4,scale=fp32,axis=" + axis).ok());
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, LevelSchemeTest,
                         testing::Values(DeviceType::kCpu, DeviceType::kCuda),
                         [](const auto& info) { return DeviceText(info.param); });

}  // namespace
}  // namespace qc2c
