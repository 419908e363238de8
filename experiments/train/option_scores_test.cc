#include "experiments/train/option_scores.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "common/model/decoding.h"
#include "common/model/test_model.h"

namespace qc2c {
namespace {

const Document kTwoOptions{.ids = {3, 4, 5}, .prompt_length = 3, .options = {{6, 7}, {8}}};
const Document kThreeOptions{
    .ids = {9, 2}, .prompt_length = 2, .options = {{1}, {2, 3, 4}, {5, 6}}, .answer = 2};

TEST(OptionScoresTest, EqualTheMeanOfWhatServingComputes) {
  const at::NoGradGuard no_grad;
  const Model model = RandomModel(SmallConfig());
  const DocumentBatch batch = {&kTwoOptions, &kThreeOptions};
  const TokenBatch prompts = TokenBatch::FromSequences({{3, 4}, {9}}, at::kCPU);
  const KvCache cache = model.Forward(prompts, nullptr)->cache;
  const auto scores = OptionScores(model, cache, batch);
  ASSERT_TRUE(scores.ok()) << scores.status();
  const TokenBatch last = TokenBatch::FromSequences({{5}, {2}}, at::kCPU);
  const auto sums =
      OptionLogProbabilities(model, last, &cache, {kTwoOptions.options, kThreeOptions.options});
  ASSERT_TRUE(sums.ok()) << sums.status();
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t option = 0; option < std::ssize(batch[row]->options); ++option) {
      const auto num_ids = static_cast<double>(batch[row]->options[option].size());
      EXPECT_NEAR((*scores)[row][option].item<double>(), (*sums)[row][option] / num_ids, 1e-5);
    }
  }
  EXPECT_EQ((*scores)[0][2].item<float>(), -std::numeric_limits<float>::infinity());
}

TEST(OptionLossTest, IsTheSharpenedChoicePlusALittleLikelihood) {
  const float none = -std::numeric_limits<float>::infinity();
  const at::Tensor scores = at::tensor({-1.0f, -2.0f, none, -3.0f, -1.5f, -0.5f}).view({2, 3});
  const double first = -std::log(std::exp(-3.0) / (std::exp(-3.0) + std::exp(-6.0)));
  const double second =
      -std::log(std::exp(-1.5) / (std::exp(-9.0) + std::exp(-4.5) + std::exp(-1.5)));
  const double expected = (first + second) / 2 + 0.3 * (1.0 + 0.5) / 2;
  const DocumentBatch batch = {&kTwoOptions, &kThreeOptions};
  EXPECT_NEAR(OptionLoss(scores, batch).item<double>(), expected, 1e-5);
}

}  // namespace
}  // namespace qc2c
