#include "experiments/train/codec_noise.h"

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace qc2c {
namespace {

TEST(RequantizeTest, EachWidthHasItsLevels) {
  // One row a width, all of the same four values with largest magnitude 4 and mean magnitude 2.
  const at::Tensor row = at::tensor({4.0f, -1.2f, 2.3f, -0.5f}).view({1, 1, 1, 4});
  const at::Tensor x = row.expand({5, 1, 1, 4});
  const at::Tensor y = Requantize(x, {16, 8, 3, 2, 1});
  EXPECT_TRUE(y[0].equal(x[0]));
  for (int i = 0; i < 4; ++i) {
    const float value = row.flatten()[i].item<float>();
    EXPECT_LE(std::abs(y[1].flatten()[i].item<float>() - value), 4.0f / 127 / 2 * 1.0001f) << i;
    // Three bits: multiples of 4 / 3.
    EXPECT_FLOAT_EQ(y[2].flatten()[i].item<float>(), std::round(value / (4.0f / 3)) * (4.0f / 3));
  }
  const std::vector<float> four = {3.0f, -1.0f, 3.0f, -1.0f};  // levels -3, -1, 1, 3
  const std::vector<float> sign = {2.0f, -2.0f, 2.0f, -2.0f};
  for (int i = 0; i < 4; ++i) {
    EXPECT_FLOAT_EQ(y[3].flatten()[i].item<float>(), four[i]) << i;
    EXPECT_FLOAT_EQ(y[4].flatten()[i].item<float>(), sign[i]) << i;
  }
}

TEST(RequantizeTest, ZerosStayZerosAtThreeBitsAndMore) {
  const at::Tensor zeros = at::zeros({3, 2, 3, 4});
  EXPECT_TRUE(Requantize(zeros, {16, 8, 4}).equal(zeros));
}

SharerCache RandomCache(int64_t batch, int64_t tokens) {
  SharerCache cache;
  cache.keys = {at::randn({batch, 2, tokens, 4}), {}};
  cache.values = {at::randn({batch, 2, tokens, 4}), {}};
  cache.selected = at::ones({batch, tokens}, at::kBool);
  return cache;
}

TEST(AddCodecNoiseTest, SixteenBitsWithoutPruningChangeNothing) {
  at::manual_seed(3);
  SharerCache cache = RandomCache(3, 5);
  const SharerCache before = cache;
  AddCodecNoise({.bits = {16}}, cache);
  EXPECT_TRUE(cache.keys[0].equal(before.keys[0]));
  EXPECT_TRUE(cache.values[0].equal(before.values[0]));
  EXPECT_TRUE(cache.selected.equal(before.selected));
  EXPECT_FALSE(cache.keys[1].defined());
}

TEST(AddCodecNoiseTest, PruningKeepsAShareOfTheTokensThatWereThere) {
  at::manual_seed(4);
  constexpr int64_t kRows = 300, kTokens = 40, kThere = 20;
  SharerCache cache = RandomCache(kRows, kTokens);
  cache.selected.narrow(1, kThere, kTokens - kThere).fill_(false);
  AddCodecNoise({.bits = {16}, .prune_probability = 1.0, .min_keep_ratio = 0.25}, cache);
  const at::Tensor kept = cache.selected.sum(1);
  EXPECT_FALSE(cache.selected.narrow(1, kThere, kTokens - kThere).any().item<bool>());
  EXPECT_GE(kept.min().item<int64_t>(), kThere / 4);
  EXPECT_LE(kept.max().item<int64_t>(), kThere);
  // Uniform in [.25, 1]: mean .625; the mean of 300 draws has a standard error of .0125.
  EXPECT_NEAR(kept.to(at::kFloat).mean().item<float>() / kThere, 0.625, 0.06);
}

TEST(AddCodecNoiseTest, ARowIsPrunedToItsBackItsLargestValuesOrAtRandom) {
  at::manual_seed(5);
  constexpr int64_t kRows = 300, kTokens = 10;
  SharerCache cache = RandomCache(kRows, kTokens);
  cache.values[0].narrow(2, 0, 3).mul_(100);  // the first three tokens have the largest values
  AddCodecNoise({.bits = {16}, .prune_probability = 1.0, .min_keep_ratio = 0.05}, cache);
  int64_t back = 0, largest = 0;
  for (int64_t row = 0; row < kRows; ++row) {
    const at::Tensor kept = cache.selected[row];
    const int64_t count = kept.sum().item<int64_t>();
    back += kept.narrow(0, kTokens - count, count).all().item<bool>();
    largest += count <= 3 && !kept.narrow(0, 3, kTokens - 3).any().item<bool>();
  }
  // A third of the rows each; few random rows look like either. 5 standard errors are .14.
  EXPECT_NEAR(static_cast<double>(back) / kRows, 0.4, 0.16);
  EXPECT_NEAR(static_cast<double>(largest) / kRows, 0.33 * 0.32, 0.1);
}

}  // namespace
}  // namespace qc2c
