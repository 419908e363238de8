// Caches at every layer, hidden states, logits, greedy tokens and option log-probabilities against
// transformers, on the random models that tests/parity/model_fixtures.py writes into
// $QC2C_MODEL_FIXTURES.
#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "common/model/decoding.h"
#include "common/model/model.h"
#include "common/model/safetensors.h"

namespace qc2c {
namespace {

// Absolute, in fp32: the bound that the project states.
constexpr double kFp32Bound = 1e-4;
constexpr int64_t kAttendingTokens = 5;  // ATTENDING of model_fixtures.py

using Tensors = std::map<std::string, at::Tensor>;

struct Case {
  std::string name;
  at::DeviceType device;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class ModelParityTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (GetParam().device == at::kCUDA && !at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
    const char* root = std::getenv("QC2C_MODEL_FIXTURES");
    ASSERT_NE(root, nullptr) << "set QC2C_MODEL_FIXTURES to what model_fixtures.py wrote";
    folder_ = std::filesystem::path(root) / GetParam().name;
    expected_ = Read("expected.safetensors");
  }

  Tensors Read(const std::string& file) {
    const NamedTensors read = ReadSafetensors(folder_ / file).value();
    return {read.begin(), read.end()};
  }

  Model LoadModel(at::ScalarType dtype = at::kFloat) {
    absl::StatusOr<Model> model =
        Model::Load(folder_, {.device = GetParam().device, .dtype = dtype});
    return std::move(model).value();  // throws, and so fails the test, with the status
  }

  at::Tensor Expected(const std::string& name) { return expected_.at(name).to(GetParam().device); }

  TokenBatch Batch() { return {Expected("ids"), Expected("lengths")}; }

  // The largest difference over the real tokens; `axis` is that of the tokens, after the batch's.
  double Error(const at::Tensor& found, const at::Tensor& expected, int64_t axis) {
    double error = 0;
    const at::Tensor lengths = expected_.at("lengths");
    for (int64_t row = 0; row < lengths.size(0); ++row) {
      const int64_t length = lengths[row].item<int64_t>();
      const at::Tensor difference = found[row].narrow(axis - 1, 0, length).to(at::kDouble) -
                                    expected[row].narrow(axis - 1, 0, length).to(at::kDouble);
      error = std::max(error, difference.abs().max().item<double>());
    }
    return error;
  }

  // Tokens [from, to) of each row as a batch of its own; with positions, at those of the tokens.
  TokenBatch Slice(const at::Tensor& from, const at::Tensor& to, const at::Tensor& positions = {}) {
    const at::Tensor ids = expected_.at("ids");
    std::vector<std::vector<int32_t>> rows(ids.size(0));
    std::vector<std::vector<uint32_t>> places(ids.size(0));
    for (int64_t row = 0; row < ids.size(0); ++row) {
      for (int64_t t = from[row].item<int64_t>(); t < to[row].item<int64_t>(); ++t) {
        rows[row].push_back(static_cast<int32_t>(ids[row][t].item<int64_t>()));
        if (!positions.defined()) continue;
        places[row].push_back(static_cast<uint32_t>(positions[row][t].item<int64_t>()));
      }
    }
    return TokenBatch::FromSequences(rows, places, GetParam().device);
  }

  std::filesystem::path folder_;
  Tensors expected_;
  at::NoGradGuard no_grad_;
};

TEST_P(ModelParityTest, PrefillOfARaggedBatchEqualsTransformers) {
  const Model model = LoadModel();
  absl::StatusOr<ForwardResult> result = model.Forward(Batch(), nullptr);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_LE(Error(result->hidden, Expected("hidden"), 1), kFp32Bound);
  EXPECT_LE(Error(model.Logits(result->hidden), Expected("logits"), 1), kFp32Bound);
  for (int32_t layer = 0; layer < model.config().num_layers; ++layer) {
    const std::string suffix = absl::StrCat(".", layer);
    EXPECT_LE(Error(result->cache.keys[layer], Expected("keys" + suffix), 2), kFp32Bound) << layer;
    EXPECT_LE(Error(result->cache.values[layer], Expected("values" + suffix), 2), kFp32Bound);
  }
}

TEST_P(ModelParityTest, TheLastTokensAttendAsInTransformers) {
  const Model model = LoadModel();
  const at::Tensor lengths = Expected("lengths");
  const std::vector<int64_t> counts(static_cast<size_t>(lengths.size(0)), kAttendingTokens);
  const auto result = model.Forward(Batch(), nullptr, {.attending_tokens = counts});
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->attention.size(), static_cast<size_t>(model.config().num_layers));
  for (int32_t layer = 0; layer < model.config().num_layers; ++layer) {
    const at::Tensor& found = result->attention[layer];
    EXPECT_LE(Error(found, Expected(absl::StrCat("attention.", layer)), 1), kFp32Bound) << layer;
    // Each of a row's queries gives 1 in all, and nothing to padding.
    const at::Tensor queries = lengths.clamp_max(kAttendingTokens).to(at::kFloat);
    EXPECT_LE((found.sum(1) - queries).abs().max().item<double>(), kFp32Bound) << layer;
  }
  // What a row gets does not depend on what others want.
  std::vector<int64_t> first_alone(counts.size(), 0);
  first_alone[0] = kAttendingTokens;
  const auto alone = model.Forward(Batch(), nullptr, {.attending_tokens = first_alone});
  ASSERT_TRUE(alone.ok()) << alone.status();
  EXPECT_TRUE(at::equal(alone->attention[0][0], result->attention[0][0]));
  EXPECT_EQ(alone->attention[0][1].abs().sum().item<double>(), 0);
  EXPECT_TRUE(at::equal(alone->hidden, model.Forward(Batch(), nullptr)->hidden));
  EXPECT_FALSE(model.Forward(Batch(), nullptr, {.attending_tokens = {1}}).ok());
  EXPECT_FALSE(model.Forward(Batch(), &alone->cache, {.attending_tokens = counts}).ok());
}

// The rows' pasts have different lengths, so their new tokens sit behind invalid slots.
TEST_P(ModelParityTest, ContinuingARaggedCacheEqualsOnePrefill) {
  const Model model = LoadModel();
  const at::Tensor lengths = expected_.at("lengths");
  const at::Tensor past_lengths = expected_.at("past_lengths").clamp_min(1).minimum(lengths - 1);
  // A row of one token has no past of its own: give it a slot that is not valid.
  const at::Tensor at_least_one = past_lengths.clamp_min(1);
  absl::StatusOr<ForwardResult> past =
      model.Forward(Slice(at::zeros_like(lengths), at_least_one), nullptr);
  ASSERT_TRUE(past.ok()) << past.status();
  past->cache.lengths = past_lengths.to(GetParam().device);
  past->cache.valid = at::arange(past->cache.num_slots(), at::kLong).to(GetParam().device) <
                      past->cache.lengths.unsqueeze(1);
  const TokenBatch rest = Slice(past_lengths, lengths);
  absl::StatusOr<ForwardResult> result = model.Forward(rest, &past->cache);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(at::equal(result->cache.lengths.cpu(), lengths));

  const at::Tensor logits = model.Logits(result->hidden).cpu();
  const at::Tensor expected = expected_.at("logits");
  for (int64_t row = 0; row < lengths.size(0); ++row) {
    const int64_t first = past_lengths[row].item<int64_t>();
    const int64_t count = lengths[row].item<int64_t>() - first;
    const at::Tensor difference =
        logits[row].narrow(0, 0, count) - expected[row].narrow(0, first, count);
    EXPECT_LE(difference.abs().max().item<double>(), kFp32Bound) << "row " << row;
  }
}

TEST_P(ModelParityTest, GapsBetweenPositionsAreMaskedPadsOfTransformers) {
  const Model model = LoadModel();
  const at::Tensor lengths = expected_.at("lengths");
  const at::Tensor positions = expected_.at("gapped_positions");
  const TokenBatch tokens = Slice(at::zeros_like(lengths), lengths, positions);
  const std::vector<int64_t> counts(static_cast<size_t>(lengths.size(0)), kAttendingTokens);
  absl::StatusOr<ForwardResult> result =
      model.Forward(tokens, nullptr, {.attending_tokens = counts});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_LE(Error(result->hidden, Expected("gapped_hidden"), 1), kFp32Bound);
  for (int32_t layer = 0; layer < model.config().num_layers; ++layer) {
    const KvCache& cache = result->cache;
    const auto expected = [&](const char* name) {
      return Expected(absl::StrCat("gapped_", name, ".", layer));
    };
    EXPECT_LE(Error(cache.keys[layer], expected("keys"), 2), kFp32Bound) << layer;
    EXPECT_LE(Error(cache.values[layer], expected("values"), 2), kFp32Bound) << layer;
    EXPECT_LE(Error(result->attention[layer], expected("attention"), 1), kFp32Bound) << layer;
  }
  const at::Tensor next = positions.gather(1, lengths.unsqueeze(1) - 1).squeeze(1) + 1;
  EXPECT_TRUE(at::equal(result->cache.lengths.cpu(), next));

  // The same in two passes; a row of one token has none for the second.
  const at::Tensor first = expected_.at("past_lengths").clamp_min(1);
  const auto past = model.Forward(Slice(at::zeros_like(lengths), first, positions), nullptr);
  ASSERT_TRUE(past.ok()) << past.status();
  const auto rest = model.Forward(Slice(first, lengths, positions), &past->cache);
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_TRUE(at::equal(rest->cache.lengths.cpu(), next));
  for (int64_t row = 0; row < lengths.size(0); ++row) {
    const int64_t begin = first[row].item<int64_t>();
    const int64_t count = lengths[row].item<int64_t>() - begin;
    if (count == 0) continue;
    const at::Tensor difference = rest->hidden[row].narrow(0, 0, count) -
                                  Expected("gapped_hidden")[row].narrow(0, begin, count);
    EXPECT_LE(difference.abs().max().item<double>(), kFp32Bound) << "row " << row;
  }
}

TEST_P(ModelParityTest, GreedyTokensEqualTransformersRowByRow) {
  const Model model = LoadModel();
  const at::Tensor expected = expected_.at("greedy");
  // A step whose best two logits differ by less than twice the bound would be undecided.
  ASSERT_GT(expected_.at("greedy_margin").min().item<double>(), 2 * kFp32Bound);
  GreedyOptions options;
  options.max_new_tokens.assign(expected.size(0), static_cast<int32_t>(expected.size(1)));
  absl::StatusOr<std::vector<Generation>> found = DecodeGreedily(model, Batch(), nullptr, options);
  ASSERT_TRUE(found.ok()) << found.status();
  for (int64_t row = 0; row < expected.size(0); ++row) {
    const at::Tensor ids = at::tensor((*found)[row].ids, at::kInt).to(at::kLong);
    EXPECT_TRUE(at::equal(ids, expected[row])) << "row " << row;
    EXPECT_EQ((*found)[row].end, Generation::End::kLength);
  }
}

TEST_P(ModelParityTest, OptionLogProbabilitiesEqualTransformers) {
  const Model model = LoadModel();
  const at::Tensor ids = expected_.at("options");
  const at::Tensor expected = expected_.at("option_logprobs");
  std::vector<std::vector<std::vector<int32_t>>> options(ids.size(0));
  for (int64_t row = 0; row < ids.size(0); ++row) {
    for (int64_t option = 0; option < ids.size(1); ++option) {
      const int64_t length = expected_.at("option_lengths")[row][option].item<int64_t>();
      const at::Tensor own = ids[row][option].narrow(0, 0, length).to(at::kInt).contiguous();
      options[row].emplace_back(own.data_ptr<int32_t>(), own.data_ptr<int32_t>() + length);
    }
  }
  const auto found = OptionLogProbabilities(model, Batch(), nullptr, options);
  ASSERT_TRUE(found.ok()) << found.status();
  for (int64_t row = 0; row < ids.size(0); ++row) {
    for (int64_t option = 0; option < ids.size(1); ++option) {
      // A sum of up to three log-probabilities, each off by at most twice the logits' bound.
      EXPECT_NEAR((*found)[row][option], expected[row][option].item<double>(), 6 * kFp32Bound);
    }
  }
}

// transformers' own attention implementations differ by roundings in bf16: this code may be as far
// from the nearer of them as they are from each other.
TEST_P(ModelParityTest, Bf16StaysWithinTheSpreadOfTransformersEagerAndSdpa) {
  if (GetParam().device != at::kCPU) GTEST_SKIP() << "its matrix products round differently";
  const Tensors sdpa = Read("expected_bf16_sdpa.safetensors");
  const Tensors eager = Read("expected_bf16_eager.safetensors");
  const Model model = LoadModel(at::kBFloat16);
  const ForwardResult result = model.Forward(Batch(), nullptr).value();
  const auto expect = [&](const std::string& name, const at::Tensor& found, int64_t axis) {
    EXPECT_EQ(found.scalar_type(), at::kBFloat16);
    const double spread = Error(sdpa.at(name), eager.at(name), axis);
    const double error =
        std::min(Error(found, sdpa.at(name), axis), Error(found, eager.at(name), axis));
    EXPECT_LE(error, spread) << name;
  };
  for (int32_t layer = 0; layer < model.config().num_layers; ++layer) {
    expect(absl::StrCat("keys.", layer), result.cache.keys[layer], 2);
    expect(absl::StrCat("values.", layer), result.cache.values[layer], 2);
  }
  expect("hidden", result.hidden, 1);
  expect("logits", model.Logits(result.hidden), 1);
}

// On any device: at most twice as far from the fp32 truth as transformers' bf16 on a CPU.
TEST_P(ModelParityTest, Bf16StaysAsCloseToFp32AsTransformersBf16) {
  const at::Tensor truth = expected_.at("logits");
  const Model model = LoadModel(at::kBFloat16);
  const ForwardResult result = model.Forward(Batch(), nullptr).value();
  EXPECT_LE(Error(model.Logits(result.hidden).cpu(), truth, 1),
            2 * Error(Read("expected_bf16_sdpa.safetensors").at("logits"), truth, 1));
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const char* name : {"qwen2_tied", "qwen3_tied", "qwen3_untied", "llama_untied",
                           "llama3_rope", "llama_fp16_file", "gemma3", "gemma3_window512"}) {
    cases.push_back({name, at::kCPU});
    cases.push_back({name, at::kCUDA});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Families, ModelParityTest, ::testing::ValuesIn(Cases()),
                         [](const auto& info) {
                           return absl::StrCat(info.param.name,
                                               info.param.device == at::kCPU ? "_cpu" : "_cuda");
                         });

}  // namespace
}  // namespace qc2c
