#include "experiments/train/sensitivity.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/codec/codec_spec.h"

namespace qc2c {
namespace {

SharerCache RandomSharerCache() {
  SharerCache cache;
  for (int layer = 0; layer < 2; ++layer) {
    cache.keys.push_back(at::randn({2, 3, 5, 8}));
    cache.values.push_back(at::randn({2, 3, 5, 8}));
  }
  cache.selected = at::ones({2, 5}, at::kBool);
  cache.selected[1][4] = false;
  return cache;
}

TEST(QuantizeTensorTest, OneTensorGetsTheCodecsValuesAtTheSelectedTokensAlone) {
  SharerCache cache = RandomSharerCache();
  const SharerCache before = cache;
  const auto error = QuantizeTensor({1, Half::kValue}, "int4", cache);
  ASSERT_TRUE(error.ok()) << error.status();
  EXPECT_TRUE(cache.keys[1].is_same(before.keys[1]));
  EXPECT_TRUE(cache.values[0].is_same(before.values[0]));
  // int4 per token and head: amax / 7 in fp16, round to even.
  const at::Tensor own = before.values[1];
  const at::Tensor scale = (own.abs().amax(-1, true) / 7).to(at::kHalf).to(at::kFloat);
  at::Tensor expected = (own / scale).round().clamp(-7, 7) * scale;
  expected[1].select(1, 4).copy_(own[1].select(1, 4));
  EXPECT_TRUE(cache.values[1].equal(expected));
  EXPECT_NEAR(*error, (expected - own).square().sum().item<double>(), 1e-5);
}

TEST(QuantizeTensorTest, ATensorThatIsNotSentIsSelectedNowhereAndCostsItsEnergy) {
  SharerCache cache = RandomSharerCache();
  const auto error = QuantizeTensor({0, Half::kKey}, "none", cache);
  ASSERT_TRUE(error.ok()) << error.status();
  EXPECT_FALSE(cache.SelectedOf(0, Half::kKey).any().item<bool>());
  EXPECT_TRUE(cache.SelectedOf(1, Half::kKey).is_same(cache.selected));
  at::Tensor sent = cache.keys[0].clone();
  sent[1].select(1, 4).zero_();
  EXPECT_NEAR(*error, sent.square().sum().item<double>(), 1e-4);
}

TEST(QuantizeTensorTest, AnUnknownSchemeIsRefusedByName) {
  SharerCache cache = RandomSharerCache();
  EXPECT_THAT(std::string(QuantizeTensor({0, Half::kKey}, "int9", cache).status().message()),
              testing::HasSubstr("int9"));
}

}  // namespace
}  // namespace qc2c
