#include "common/codec/lagrangian.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace qc2c {
namespace {

using ::testing::ElementsAre;
using Units = std::vector<std::vector<Alternative>>;

constexpr double kInfinite = std::numeric_limits<double>::infinity();

uint64_t Bytes(const Units& units, const std::vector<size_t>& choice) {
  uint64_t sum = 0;
  for (size_t i = 0; i < units.size(); ++i) sum += units[i][choice[i]].bytes;
  return sum;
}

double Distortion(const Units& units, const std::vector<size_t>& choice) {
  double sum = 0;
  for (size_t i = 0; i < units.size(); ++i) sum += units[i][choice[i]].distortion;
  return sum;
}

// The optimum by trying everything.
double Least(const Units& units, uint64_t max_bytes) {
  std::vector<size_t> choice(units.size(), 0);
  double least = kInfinite;
  while (true) {
    if (Bytes(units, choice) <= max_bytes) least = std::min(least, Distortion(units, choice));
    size_t i = 0;
    while (i < units.size() && ++choice[i] == units[i].size()) choice[i++] = 0;
    if (i == units.size()) return least;
  }
}

TEST(AllocateTest, BytesGoWhereTheyTakeAwayMost) {
  const Units units = {{{0, 100}, {10, 50}, {20, 10}}, {{0, 30}, {10, 5}, {20, 1}}};
  EXPECT_THAT(Allocate(units, 9), ElementsAre(0, 0));
  EXPECT_THAT(Allocate(units, 20), ElementsAre(2, 0));
  EXPECT_THAT(Allocate(units, 30), ElementsAre(2, 1));
  EXPECT_THAT(Allocate(units, 40), ElementsAre(2, 2));
  EXPECT_THAT(Allocate(units, 1000), ElementsAre(2, 2));
}

TEST(AllocateTest, WhatTheLagrangianLeavesIsFilled) {
  // On the hull of unit 0 there are only its ends.
  const Units units = {{{0, 100}, {10, 60}, {20, 0}}};
  EXPECT_THAT(Allocate(units, 15), ElementsAre(1));
}

TEST(AllocateTest, AnAlternativeThatIsImpossibleIsNotTaken) {
  EXPECT_THAT(Allocate({{{0, 100}, {1, kInfinite}, {2, 0}}}, 10), ElementsAre(2));
  EXPECT_THAT(Allocate({{{0, 100}, {1, kInfinite}}}, 10), ElementsAre(0));
}

// Against the exhaustive optimum: the budget holds, and what is missing is at most one unit's
// largest step.
TEST(AllocateTest, RandomUnitsStayWithinOneStepOfTheOptimum) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 300; ++trial) {
    Units units(1 + random() % 5);
    double largest_step = 0;
    for (std::vector<Alternative>& unit : units) {
      unit.push_back({0, 100.0 + random() % 900});
      for (size_t a = 0; a < 4; ++a) {
        unit.push_back({1 + random() % 50, unit[0].distortion * (random() % 1000) / 1000});
      }
      largest_step = std::max(largest_step, unit[0].distortion);
    }
    const uint64_t budget = random() % 200;
    const std::vector<size_t> choice = Allocate(units, budget);
    EXPECT_LE(Bytes(units, choice), budget);
    EXPECT_LE(Distortion(units, choice), Least(units, budget) + largest_step);
  }
}

}  // namespace
}  // namespace qc2c
