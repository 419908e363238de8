// Caches, logits and greedy tokens of real models against transformers. $QC2C_MODELS names a folder
// of Hugging Face folders, $QC2C_REAL_MODEL_FIXTURES what tests/parity/real_model_fixtures.py
// wrote.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/model/decoding.h"
#include "common/model/model.h"
#include "common/model/safetensors.h"

namespace qc2c {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

constexpr double kFp32Bound = 1e-4;

class RealModelsTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const char* models = std::getenv("QC2C_MODELS");
    if (models == nullptr) GTEST_SKIP() << "QC2C_MODELS does not name a folder of models";
    folder_ = std::filesystem::path(models) / GetParam();
    if (!std::filesystem::is_directory(folder_)) GTEST_SKIP() << folder_ << " is not there";
    const char* fixtures = std::getenv("QC2C_REAL_MODEL_FIXTURES");
    ASSERT_NE(fixtures, nullptr) << "set it to what real_model_fixtures.py wrote";
    const NamedTensors read =
        ReadSafetensors(std::filesystem::path(fixtures) / absl::StrCat(GetParam(), ".safetensors"))
            .value();
    expected_ = Tensors(read.begin(), read.end());
  }

  // The largest difference over the real tokens of [B, H, T, D].
  double CacheError(const at::Tensor& found, const std::string& name) {
    double error = 0;
    const at::Tensor lengths = expected_.at("lengths");
    for (int64_t row = 0; row < lengths.size(0); ++row) {
      const int64_t length = lengths[row].item<int64_t>();
      const at::Tensor difference =
          found[row].narrow(1, 0, length) - expected_.at(name)[row].narrow(1, 0, length);
      error = std::max(error, difference.abs().max().item<double>());
    }
    return error;
  }

  std::filesystem::path folder_;
  Tensors expected_;
  at::NoGradGuard no_grad_;
};

TEST_P(RealModelsTest, CachesLogitsAndGreedyTokensEqualTransformers) {
  const Model model = Model::Load(folder_, {}).value();
  const TokenBatch batch = {expected_.at("ids"), expected_.at("lengths")};
  const ForwardResult result = model.Forward(batch, nullptr).value();
  for (int32_t layer = 0; layer < model.config().num_layers; ++layer) {
    const std::string keys = absl::StrCat("keys.", layer);
    const std::string values = absl::StrCat("values.", layer);
    EXPECT_LE(CacheError(result.cache.keys[layer], keys), kFp32Bound) << keys;
    EXPECT_LE(CacheError(result.cache.values[layer], values), kFp32Bound) << values;
  }
  const at::Tensor logits = model.Logits(LastHidden(result.hidden, batch.lengths));
  EXPECT_LE((logits - expected_.at("last_logits")).abs().max().item<double>(), kFp32Bound);

  const at::Tensor expected = expected_.at("greedy");
  // A step whose best two logits differ by less than twice the bound would be undecided.
  ASSERT_GT(expected_.at("greedy_margin").min().item<double>(), 2 * kFp32Bound);
  GreedyOptions options;
  options.max_new_tokens.assign(expected.size(0), static_cast<int32_t>(expected.size(1)));
  const std::vector<Generation> found = DecodeGreedily(model, batch, nullptr, options).value();
  for (int64_t row = 0; row < expected.size(0); ++row) {
    EXPECT_TRUE(at::equal(at::tensor(found[row].ids, at::kInt).to(at::kLong), expected[row]))
        << "row " << row;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, RealModelsTest,
                         ::testing::Values("SmolLM2-135M-Instruct", "gemma-3-270m",
                                           "Qwen2.5-Coder-0.5B-Instruct",
                                           "Qwen2.5-Coder-1.5B-Instruct"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace_if(
                               name.begin(), name.end(),
                               [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
                           return name;
                         });

}  // namespace
}  // namespace qc2c
