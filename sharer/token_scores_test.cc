#include "sharer/token_scores.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

namespace qc2c {
namespace {

at::Tensor Scores(const at::Tensor& attention, int64_t num_tokens, const std::string& options) {
  const auto codec = CodecSpec::Parse("int8,select=attention,keep_tokens=1," + options).value();
  return AttentionScores({attention}, /*row=*/1, num_tokens, codec);
}

// Row 1 of two has six tokens, then padding.
at::Tensor Attention() {
  const at::Tensor row = at::tensor({8., 4., 0., 2., 5., 6., 0.}, at::kFloat);
  return at::stack({row + 100, row});
}

TEST(AttentionScoresTest, TheLastTokensComeFirstAndTheLatestOfThemBefore) {
  EXPECT_TRUE(at::equal(Scores(Attention(), 6, "window=2,pool=1"),
                        at::tensor({8., 4., 0., 2., 3., 4.}, at::kFloat).view({1, 6})));
  // No attention of three tokens is above 3, so that the last ones have the largest scores.
  EXPECT_TRUE(at::equal(Scores(Attention(), 3, "window=9,pool=5"),
                        at::tensor({4., 5., 6.}, at::kFloat).view({1, 3})));
}

TEST(AttentionScoresTest, NeighboursBeforeTheLastTokensShare) {
  const at::Tensor found = Scores(Attention(), 6, "window=2,pool=3");
  const at::Tensor sums = at::tensor({12., 12., 6., 2., 9., 12.}, at::kFloat).view({1, 6});
  EXPECT_LE((found * 3 - sums).abs().max().item<double>(), 1e-5);
}

TEST(AttentionScoresTest, APoolMayBeWiderThanWhatItPools) {
  const at::Tensor found = Scores(Attention(), 3, "window=1,pool=63");
  EXPECT_LE((found * 63 - at::tensor({12., 12., 126.}, at::kFloat)).abs().max().item<double>(),
            1e-4);
}

}  // namespace
}  // namespace qc2c
