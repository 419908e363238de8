#include "common/model/captured_forward.h"

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <thread>
#include <vector>

#include "common/model/decoding.h"
#include "common/model/test_model.h"

namespace qc2c {
namespace {

using Sequences = std::vector<std::vector<int32_t>>;

// Ids 1 .. 49 by turns, from `first`.
std::vector<int32_t> Ids(size_t count, int32_t first) {
  std::vector<int32_t> ids(count);
  for (size_t i = 0; i < count; ++i) ids[i] = 1 + (first + 7 * static_cast<int32_t>(i)) % 49;
  return ids;
}

ModelConfig LongConfig() {
  ModelConfig config = SmallConfig();
  config.max_positions = 300;
  return config;
}

ModelConfig WindowedConfig() {
  ModelConfig config = LongConfig();
  config.attention = {ModelConfig::Attention::kWindow, ModelConfig::Attention::kFull,
                      ModelConfig::Attention::kWindow};
  config.window = 5;
  return config;
}

// The kernels are the same, but others may be chosen for a rounded-up shape: sums of at most 40
// products of values of order 1 in fp32, through three layers.
constexpr double kTolerance = 1e-4;

void ExpectClose(const at::Tensor& found, const at::Tensor& expected, const char* name) {
  ASSERT_EQ(found.sizes(), expected.sizes()) << name;
  EXPECT_TRUE(at::allclose(found, expected, kTolerance, kTolerance)) << name;
}

// What a row's tokens left behind; padding may differ.
void ExpectSameTokens(const ForwardResult& found, const ForwardResult& expected) {
  ASSERT_TRUE(at::equal(found.cache.valid, expected.cache.valid));
  ASSERT_TRUE(at::equal(found.cache.lengths, expected.cache.lengths));
  const at::Tensor new_tokens = expected.cache.valid.narrow(
      1, expected.cache.valid.size(1) - expected.hidden.size(1), expected.hidden.size(1));
  ExpectClose(found.hidden.index({new_tokens}), expected.hidden.index({new_tokens}), "hidden");
  for (size_t layer = 0; layer < expected.cache.keys.size(); ++layer) {
    const auto valid = [&](const at::Tensor& tensor) {
      return tensor.transpose(1, 2).index({expected.cache.valid});
    };
    ExpectClose(valid(found.cache.keys[layer]), valid(expected.cache.keys[layer]), "keys");
    ExpectClose(valid(found.cache.values[layer]), valid(expected.cache.values[layer]), "values");
  }
}

class CapturedForwardTest : public ::testing::TestWithParam<ModelConfig> {
 protected:
  void SetUp() override {
    if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
    kernels_.emplace(RandomModel(GetParam(), {at::kCUDA, at::kFloat}));
    graphs_.emplace(
        RandomModel(GetParam(), {at::kCUDA, at::kFloat, ModelOptions::Launch::kGraphs}));
  }

  // A ragged prefill and then `steps` single tokens a row, the first row of which ends after one.
  void Compare(const Sequences& sequences, int steps) {
    const at::NoGradGuard no_grad;
    TokenBatch tokens = TokenBatch::FromSequences(sequences, at::kCUDA);
    ForwardResult expected = kernels_->Forward(tokens, nullptr).value();
    ForwardResult found = graphs_->Forward(tokens, nullptr).value();
    ExpectSameTokens(found, expected);
    for (int step = 0; step < steps; ++step) {
      Sequences next(sequences.size());
      for (size_t row = 0; row < next.size(); ++row) {
        next[row] = Ids(1, static_cast<int32_t>(row) + step);
      }
      tokens = TokenBatch::FromSequences(next, at::kCUDA);
      if (step > 0) tokens.lengths[0] = 0;
      ASSERT_TRUE(CapturedForward::Takes(tokens, &expected.cache));
      expected = kernels_->Forward(tokens, &expected.cache).value();
      found = graphs_->Forward(tokens, &found.cache).value();
      ExpectSameTokens(found, expected);
    }
  }

  std::optional<Model> kernels_;
  std::optional<Model> graphs_;
};

TEST_P(CapturedForwardTest, EqualsKernelByKernelOverTheEdgeOfARoundedPast) {
  Compare({Ids(62, 3), Ids(9, 5), Ids(33, 8)}, 6);
}

TEST_P(CapturedForwardTest, AGraphServesAnotherBatchOfItsShape) {
  Compare({Ids(30, 1)}, 3);
  Compare({Ids(18, 2)}, 3);  // the same rounded shapes: what lies behind the 18 is not read
}

// A mask does not hide what is no number.
TEST_P(CapturedForwardTest, WhatAnotherPassLeftBehindIsGone) {
  const at::NoGradGuard no_grad;
  const auto next = [&](size_t length, double poison) {
    const TokenBatch prompt = TokenBatch::FromSequences({Ids(length, 0)}, at::kCUDA);
    KvCache past = graphs_->Forward(prompt, nullptr).value().cache;
    for (size_t layer = 0; layer < past.keys.size(); ++layer) {
      past.keys[layer].narrow(2, static_cast<int64_t>(length) - 1, 1).add_(poison);
      past.values[layer].narrow(2, static_cast<int64_t>(length) - 1, 1).add_(poison);
    }
    return graphs_->Forward(TokenBatch::FromSequences({{7}}, at::kCUDA), &past).value().hidden;
  };
  const at::Tensor before = next(20, 0.0);
  EXPECT_FALSE(next(60, std::numeric_limits<double>::quiet_NaN()).isfinite().all().item<bool>());
  EXPECT_TRUE(at::equal(next(20, 0.0), before));
}

TEST_P(CapturedForwardTest, MoreShapesThanAreKeptAreStillRight) {
  for (size_t rows = 1; rows <= 8; ++rows) {
    for (size_t length = 1; length <= 140; length += 16) {
      Compare(Sequences(rows, Ids(length, 2)), 0);
    }
  }
  Compare({Ids(5, 1)}, 2);
}

// Memory for one graph, so that each shape drops the other, and with it the last of the pool.
TEST_P(CapturedForwardTest, GraphsThatMakeRoomForOthersAreCapturedAgain) {
  const at::NoGradGuard no_grad;
  CapturedForward captured(
      [&](const TokenBatch& tokens, const KvCache* past) {
        return kernels_->Forward(tokens, past).value();
      },
      /*max_bytes=*/1);
  for (const size_t length : {10, 40, 10, 70, 40}) {
    const TokenBatch tokens = TokenBatch::FromSequences({Ids(length, 1)}, at::kCUDA);
    const ForwardResult expected = kernels_->Forward(tokens, nullptr).value();
    ExpectSameTokens(captured.Run(tokens, nullptr), expected);
    // More than max_bytes by itself: without a graph.
    const TokenBatch next = TokenBatch::FromSequences({{5}}, at::kCUDA);
    ExpectSameTokens(captured.Run(next, &expected.cache),
                     kernels_->Forward(next, &expected.cache).value());
  }
}

// What a graph of one model runs must not be disturbed where another's is captured.
TEST_P(CapturedForwardTest, TwoModelsAreCapturedOnTwoThreads) {
  const Model other =
      RandomModel(GetParam(), {at::kCUDA, at::kFloat, ModelOptions::Launch::kGraphs});
  const auto run = [&](const Model& model) {
    const at::NoGradGuard no_grad;
    for (size_t length = 1; length <= 200; length += 7) {
      const TokenBatch tokens = TokenBatch::FromSequences({Ids(length, 1)}, at::kCUDA);
      const auto result = model.Forward(tokens, nullptr);
      ASSERT_TRUE(result.ok()) << result.status();
      ExpectSameTokens(*result, kernels_->Forward(tokens, nullptr).value());
    }
  };
  std::thread thread([&] { run(other); });
  run(*graphs_);
  thread.join();
}

TEST_P(CapturedForwardTest, ResultsOutliveTheNextPass) {
  const at::NoGradGuard no_grad;
  const TokenBatch one = TokenBatch::FromSequences({Ids(12, 1)}, at::kCUDA);
  const TokenBatch other = TokenBatch::FromSequences({Ids(12, 9)}, at::kCUDA);
  const ForwardResult first = graphs_->Forward(one, nullptr).value();
  const at::Tensor hidden = first.hidden.clone();
  const at::Tensor keys = first.cache.keys[1].clone();
  ASSERT_TRUE(graphs_->Forward(other, nullptr).ok());
  EXPECT_TRUE(at::equal(first.hidden, hidden));
  EXPECT_TRUE(at::equal(first.cache.keys[1], keys));
}

TEST_P(CapturedForwardTest, ThreadsGetTheirOwnAnswers) {
  const auto decode = [](const Model& model, int32_t first) {
    GreedyOptions options;
    options.max_new_tokens = {12};
    const TokenBatch tokens =
        TokenBatch::FromSequences({Ids(10 + static_cast<size_t>(first), first)}, at::kCUDA);
    return DecodeGreedily(model, tokens, nullptr, options).value()[0].ids;
  };
  std::vector<std::thread> threads;
  for (int32_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int32_t round = 0; round < 8; ++round) {
        const int32_t first = 11 * thread + round;
        EXPECT_EQ(decode(*graphs_, first), decode(*kernels_, first)) << first;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

INSTANTIATE_TEST_SUITE_P(Models, CapturedForwardTest,
                         ::testing::Values(LongConfig(), WindowedConfig()),
                         [](const auto& info) { return info.index == 0 ? "full" : "windowed"; });

TEST(CapturedForwardTakes, LeavesTheCpuAndTrainingAlone) {
  const TokenBatch tokens = TokenBatch::FromSequences({{1, 2, 3}}, at::kCPU);
  const at::NoGradGuard no_grad;
  EXPECT_FALSE(CapturedForward::Takes(tokens, nullptr));
}

}  // namespace
}  // namespace qc2c
