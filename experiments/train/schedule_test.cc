#include "experiments/train/schedule.h"

#include <gtest/gtest.h>

namespace qc2c {
namespace {

TEST(ScheduleTest, WarmUpRisesLinearlyAndTheCosineEndsAtItsShare) {
  EXPECT_DOUBLE_EQ(WarmupCosine(0, 1000000, 50, 0.03), 1.0 / 50);
  EXPECT_NEAR(WarmupCosine(24, 1000000, 50, 0.03), 0.5, 1e-8);
  EXPECT_NEAR(WarmupCosine(500, 1000, 50, 0.03), 0.03 + 0.97 * 0.5, 1e-12);
  EXPECT_NEAR(WarmupCosine(1000, 1000, 50, 0.03), 0.03, 1e-12);
  EXPECT_DOUBLE_EQ(WarmupCosine(0, 10, 0, 0.0), 1.0);
}

TEST(ScheduleTest, TemperatureFallsByTheSameFactorEachStep) {
  EXPECT_DOUBLE_EQ(AnnealedTemperature(0, 100, 1.0, 0.001), 1.0);
  EXPECT_NEAR(AnnealedTemperature(50, 100, 1.0, 0.0001), 0.01, 1e-12);
  EXPECT_NEAR(AnnealedTemperature(100, 100, 1.0, 0.001), 0.001, 1e-15);
  EXPECT_NEAR(AnnealedTemperature(500, 100, 1.0, 0.001), 0.001, 1e-15);
}

}  // namespace
}  // namespace qc2c
