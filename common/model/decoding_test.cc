#include "common/model/decoding.h"

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "common/model/test_model.h"

namespace qc2c {
namespace {

using ::testing::AnyOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using End = Generation::End;
using Sequences = std::vector<std::vector<int32_t>>;

const Sequences kPrompts = {{3, 9, 27, 31, 5}, {7}, {12, 13, 14}};

class DecodingTest : public ::testing::TestWithParam<at::DeviceType> {
 protected:
  void SetUp() override {
    if (GetParam() == at::kCUDA && !at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  }
  Model MakeModel(at::ScalarType dtype = at::kFloat) {
    return RandomModel(SmallConfig(), {.device = GetParam(), .dtype = dtype});
  }
  TokenBatch Batch(const Sequences& sequences) {
    return TokenBatch::FromSequences(sequences, GetParam());
  }
  std::vector<Generation> Decode(const Model& model, const Sequences& prompts,
                                 const GreedyOptions& options) {
    return DecodeGreedily(model, Batch(prompts), nullptr, options).value();
  }
  // Each prompt in a batch of its own.
  std::vector<Generation> DecodeAlone(const Model& model, int32_t max_new_tokens) {
    std::vector<Generation> generations;
    for (const auto& prompt : kPrompts) {
      generations.push_back(Decode(model, {prompt}, {.max_new_tokens = {max_new_tokens}})[0]);
    }
    return generations;
  }
  at::NoGradGuard no_grad_;
};

TEST_P(DecodingTest, TheLowestOfTheTiedIdsIsTaken) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const Model model = MakeModel(dtype);
    const std::map<std::string, at::Tensor> parameters(model.parameters().begin(),
                                                       model.parameters().end());
    // Whatever sign the hidden state gives them, the rows w or the rows -w share the highest logit.
    const at::Tensor head = parameters.at("lm_head.weight");
    head.zero_();
    for (const int64_t id : {40, 31, 7}) head[id].fill_(0.5);
    for (const int64_t id : {41, 32, 8}) head[id].fill_(-0.5);
    for (const Generation& generation : Decode(model, kPrompts, {.max_new_tokens = {4, 4, 4}})) {
      EXPECT_THAT(generation.ids, SizeIs(4));
      EXPECT_THAT(generation.ids, Each(AnyOf(7, 8)));
    }
  }
}

TEST_P(DecodingTest, ARowInABatchGivesWhatItGivesAlone) {
  const Model model = MakeModel();
  const std::vector<Generation> together =
      Decode(model, kPrompts, {.max_new_tokens = {12, 12, 12}});
  const std::vector<Generation> alone = DecodeAlone(model, 12);
  for (size_t row = 0; row < kPrompts.size(); ++row) EXPECT_EQ(together[row].ids, alone[row].ids);
}

TEST_P(DecodingTest, ARowThatEndsEarlyChangesNoOther) {
  const Model model = MakeModel();
  const std::vector<Generation> alone = DecodeAlone(model, 12);
  const std::vector<Generation> found = Decode(model, kPrompts, {.max_new_tokens = {12, 1, 4}});
  EXPECT_EQ(found[0].ids, alone[0].ids);
  EXPECT_THAT(found[1].ids, ElementsAre(alone[1].ids[0]));
  EXPECT_THAT(found[2].ids, SizeIs(4));
  for (const Generation& generation : found) EXPECT_EQ(generation.end, End::kLength);
}

TEST_P(DecodingTest, TheEndOfSequenceEndsARowAndIsNotPartOfIt) {
  const Model model = MakeModel();
  const std::vector<int32_t> alone = DecodeAlone(model, 12)[0].ids;
  const int32_t eos = alone[5];
  const auto first = std::find(alone.begin(), alone.end(), eos);
  std::vector<int32_t> seen;
  GreedyOptions options{.max_new_tokens = {12, 12, 12}, .eos_ids = {eos}};
  options.on_token = [&seen](int64_t row, int32_t id) {
    if (row == 0) seen.push_back(id);
    return GreedyOptions::Step::kContinue;
  };
  const Generation found = Decode(model, kPrompts, options)[0];
  EXPECT_EQ(found.ids, std::vector<int32_t>(alone.begin(), first));
  EXPECT_EQ(found.end, End::kEos);
  EXPECT_EQ(seen, std::vector<int32_t>(alone.begin(), first + 1));
}

TEST_P(DecodingTest, AStoppedRowEndsAndTheOthersGoOn) {
  const Model model = MakeModel();
  const std::vector<Generation> alone = DecodeAlone(model, 6);
  int calls = 0;
  GreedyOptions options{.max_new_tokens = {6, 6, 6}};
  options.on_token = [&calls](int64_t row, int32_t) {
    return row == 1 && ++calls == 2 ? GreedyOptions::Step::kStop : GreedyOptions::Step::kContinue;
  };
  const std::vector<Generation> found = Decode(model, kPrompts, options);
  EXPECT_EQ(found[0].ids, alone[0].ids);
  EXPECT_EQ(found[1].ids, std::vector<int32_t>(alone[1].ids.begin(), alone[1].ids.begin() + 2));
  EXPECT_EQ(found[1].end, End::kStopped);
  EXPECT_EQ(found[2].ids, alone[2].ids);
}

TEST_P(DecodingTest, ARowThatFillsTheContextEndsThere) {
  const Model model = MakeModel();
  const int32_t context = SmallConfig().max_positions;
  const std::vector<int32_t> prompt(context - 3, 4);
  const std::vector<Generation> found = Decode(model, {prompt, {1}}, {.max_new_tokens = {100, 3}});
  // Positions context - 3 .. context - 1 are run, and the last of them still predicts a token.
  EXPECT_THAT(found[0].ids, SizeIs(4));
  EXPECT_EQ(found[0].end, End::kLength);
  EXPECT_EQ(found[1].ids, Decode(model, {{1}}, {.max_new_tokens = {3}})[0].ids);
}

TEST_P(DecodingTest, DecodingOnACacheEqualsDecodingTheWholePrompt) {
  const Model model = MakeModel();
  Sequences heads, tails;
  for (auto prompt : Sequences{{3, 9, 27, 31, 5}, {7, 8}, {12, 13, 14}}) {
    tails.push_back({prompt.back()});
    prompt.pop_back();
    heads.push_back(prompt);
  }
  const ForwardResult past = model.Forward(Batch(heads), nullptr).value();
  const std::vector<Generation> found =
      DecodeGreedily(model, Batch(tails), &past.cache, {.max_new_tokens = {8, 8, 8}}).value();
  const std::vector<Generation> whole =
      Decode(model, {{3, 9, 27, 31, 5}, {7, 8}, {12, 13, 14}}, {.max_new_tokens = {8, 8, 8}});
  for (size_t row = 0; row < whole.size(); ++row) EXPECT_EQ(found[row].ids, whole[row].ids);
}

TEST_P(DecodingTest, WrongLimitsAreRefusedByRow) {
  const Model model = MakeModel();
  const auto status = [&](std::vector<int32_t> limits) {
    return DecodeGreedily(model, Batch(kPrompts), nullptr, {.max_new_tokens = std::move(limits)})
        .status();
  };
  EXPECT_THAT(std::string(status({1, 1}).message()), HasSubstr("has 2 entries: expected one"));
  EXPECT_THAT(std::string(status({1, 0, 1}).message()),
              HasSubstr("row 1 is 0: expected at least 1"));
}

TEST_P(DecodingTest, OptionLogProbabilitiesOfAllFirstIdsSumToOne) {
  const Model model = MakeModel();
  std::vector<std::vector<std::vector<int32_t>>> options(kPrompts.size());
  for (auto& row : options) {
    for (int32_t id = 0; id < SmallConfig().vocab_size; ++id) row.push_back({id});
  }
  const auto found = OptionLogProbabilities(model, Batch(kPrompts), nullptr, options).value();
  for (const auto& row : found) {
    double sum = 0;
    for (const double value : row) sum += std::exp(value);
    EXPECT_NEAR(sum, 1.0, 1e-5);
  }
}

TEST_P(DecodingTest, ALongerOptionScoresItsFirstIdAndThenTheRestBehindIt) {
  const Model model = MakeModel();
  const auto one = OptionLogProbabilities(model, Batch({{3, 9}}), nullptr, {{{4}}}).value();
  const auto rest = OptionLogProbabilities(model, Batch({{3, 9, 4}}), nullptr, {{{8}}}).value();
  const auto both =
      OptionLogProbabilities(model, Batch({{3, 9}, {5}}), nullptr, {{{1}, {4, 8}}, {}}).value();
  EXPECT_NEAR(both[0][1], one[0][0] + rest[0][0], 1e-4);
  EXPECT_THAT(both[1], SizeIs(0));
}

TEST_P(DecodingTest, WrongOptionsAreRefusedByRowAndOption) {
  const Model model = MakeModel();
  const auto message = [&](std::vector<std::vector<std::vector<int32_t>>> options) {
    const absl::Status status =
        OptionLogProbabilities(model, Batch({{3}, {4}}), nullptr, options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(message({{{1}}}), HasSubstr("options has 1 rows: expected 2"));
  EXPECT_THAT(message({{{1}}, {{1}, {}}}), HasSubstr("row 1, option 1 is empty"));
  EXPECT_THAT(message({{{1}}, {{2, 50}}}),
              HasSubstr("row 1, option 0, token 1 has id 50: the vocabulary has 50"));
  EXPECT_THAT(message({{{-1}}, {{2}}}), HasSubstr("row 0, option 0, token 0 has id -1"));
}

INSTANTIATE_TEST_SUITE_P(Devices, DecodingTest, ::testing::Values(at::kCPU, at::kCUDA),
                         [](const auto& info) { return info.param == at::kCPU ? "cpu" : "cuda"; });

}  // namespace
}  // namespace qc2c
