#include "common/codec/rotary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <random>

namespace qc2c {
namespace {

using testing::HasSubstr;

constexpr KvLayout kRotaryLayout{.num_layers = 2, .num_kv_heads = 1, .head_dim = 4};

TEST(RotaryTest, AQuarterTurnSwapsAPair) {
  const float frequency = std::numbers::pi_v<float> / 2;
  const RotaryTable table(std::vector{frequency}, std::vector<uint32_t>{0, 1});
  float values[] = {3, 5};
  Rotate(table.Cosines(0), table.Sines(0), 1, values);
  EXPECT_EQ(values[0], 3);
  EXPECT_EQ(values[1], 5);
  Rotate(table.Cosines(1), table.Sines(1), 1, values);
  EXPECT_NEAR(values[0], -5, 1e-6);
  EXPECT_NEAR(values[1], 3, 1e-6);
}

TEST(RotaryTest, UnrotatingIsWithinItsBoundOfTheExactRotationAndRotatingGivesItBack) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 20);
  constexpr size_t kHalf = 32;
  std::vector<float> frequencies;
  for (size_t i = 0; i < kHalf; ++i) {
    frequencies.push_back(static_cast<float>(std::pow(10000.0, -static_cast<double>(i) / kHalf)));
  }
  const std::vector<uint32_t> positions = {0, 1, 7, 150, 4095, 1048575};
  const RotaryTable table(frequencies, positions);
  for (size_t p = 0; p < positions.size(); ++p) {
    std::vector<float> x(2 * kHalf);
    for (float& value : x) value = normal(random);
    std::vector<float> y = x;
    Unrotate(table.Cosines(p), table.Sines(p), kHalf, y.data());
    std::vector<float> back = y;
    Rotate(table.Cosines(p), table.Sines(p), kHalf, back.data());
    for (size_t i = 0; i < kHalf; ++i) {
      const double angle = static_cast<float>(positions[p]) * frequencies[i];
      const float length = std::hypot(x[i], x[kHalf + i]);
      const double exact = x[i] * std::cos(angle) + x[kHalf + i] * std::sin(angle);
      EXPECT_LE(std::abs(y[i] - exact), 3 * 0x1p-24 * length) << p << " " << i;
      EXPECT_LE(std::abs(back[i] - x[i]), RotationErrorBound(length)) << p << " " << i;
      EXPECT_LE(std::abs(back[kHalf + i] - x[kHalf + i]), RotationErrorBound(length));
    }
  }
}

std::string WhyInvalid(const KeyRotation& rotation, const KvLayout& layout = kRotaryLayout) {
  const absl::Status status = rotation.Validate(layout);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(KeyRotationTest, WhatDoesNotFitTheLayoutIsRefusedByName) {
  const KeyRotation good = {.frequencies = {{1, .01f}}, .of_layer = {0, 0}};
  EXPECT_TRUE(good.Validate(kRotaryLayout).ok());
  KvLayout odd = kRotaryLayout;
  odd.head_dim = 3;
  EXPECT_THAT(WhyInvalid(good, odd), HasSubstr("head_dim is 3"));
  EXPECT_THAT(WhyInvalid({.frequencies = {{1, .01f}}, .of_layer = {0}}),
              HasSubstr("of_layer has 1 entries: expected 2"));
  EXPECT_THAT(WhyInvalid({.frequencies = {{1, .01f}}, .of_layer = {0, 1}}),
              HasSubstr("of_layer[1] is 1: expected less than 1"));
  EXPECT_THAT(WhyInvalid({.frequencies = {{1}}, .of_layer = {0, 0}}),
              HasSubstr("frequencies[0] has 1 numbers: expected 2"));
  EXPECT_THAT(WhyInvalid({.frequencies = {{1, NAN}}, .of_layer = {0, 0}}), HasSubstr("holds nan"));
  EXPECT_THAT(WhyInvalid({.frequencies = {{1, -1}}, .of_layer = {0, 0}}), HasSubstr("holds -1"));
}

}  // namespace
}  // namespace qc2c
