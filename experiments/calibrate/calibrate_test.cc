// A codebook of the embedded pair, from prompts to its levels.
#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "common/model/key_rotation.h"
#include "experiments/calibrate/codebook_builder.h"
#include "experiments/calibrate/level_report.h"
#include "experiments/project_files.h"
#include "receiver/cache_assembly.h"
#include "receiver/model_pair.h"

namespace qc2c {
namespace {

constexpr size_t kNumFitted = 96;
constexpr size_t kNumHeldOut = 8;

class CalibrateTest : public testing::Test {
 protected:
  CalibrateTest()
      : sharer_(*LanguageModel::Load(Embedded("sharer-qwen2"), {})),
        receiver_(*LanguageModel::Load(Embedded("receiver-qwen3"), {})),
        fuser_(
            *LoadFuserOfPair(Embedded("receiver-qwen3+sharer-qwen2"), receiver_, sharer_.Card())),
        layers_(LayersRead(fuser_)),
        rotation_(KeyRotationOf(sharer_.model.config())) {
    const auto pairing =
        TokenPairing::Create(receiver_, sharer_.Card(), AlignmentStrategy::kSameIds).value();
    const auto format = PromptFormat::Load(*PromptFormatPath("embedded_mc")).value();
    const std::vector<Question> questions =
        LoadQuestions(Embedded("questions/heldout_mc.jsonl"), kNumFitted + kNumHeldOut).value();
    for (const Question& question : questions) {
      auto prompt = RenderPrompt(question, format, receiver_, pairing);
      EXPECT_TRUE(prompt.ok()) << prompt.status();
      (prompts_.size() < kNumFitted ? prompts_ : held_out_).push_back(*std::move(prompt));
    }
    caches_ = PrefillPrompts(sharer_.model, prompts_, layers_, [] {}).value();
    held_out_caches_ = PrefillPrompts(sharer_.model, held_out_, layers_, [] {}).value();
  }

  static std::filesystem::path Embedded(const std::string& name) {
    return std::filesystem::path(QC2C_SOURCE_DIR "/data/embedded") / name;
  }
  absl::StatusOr<BuiltCodebook> Build(
      const std::vector<AnswerGradients>* gradients = nullptr) const {
    const auto path = std::filesystem::path(testing::TempDir()) / "embedded.codebook";
    return BuildCodebook({.prompts = prompts_,
                          .caches = caches_,
                          .fuser = fuser_,
                          .sharer_model = sharer_.name,
                          .sharer_fingerprint = sharer_.model.fingerprint(),
                          .layout = sharer_.model.config().Layout(),
                          .layers = layers_,
                          .rotation = rotation_,
                          .gradients = gradients,
                          .ridge = 0.1,
                          .questions = "heldout_mc.jsonl"},
                         path);
  }

  const LanguageModel sharer_, receiver_;
  const Fuser fuser_;
  const KvLayerSet layers_;
  const KeyRotation rotation_;
  std::vector<CalibrationPrompt> prompts_, held_out_;
  std::vector<CalibrationCache> caches_, held_out_caches_;
};

TEST_F(CalibrateTest, ALevelOfMoreBytesLosesLessOnPromptsItHasNotSeen) {
  const auto built = Build();
  ASSERT_TRUE(built.ok()) << built.status();
  const auto rows =
      MeasureLevels(built->codebook, built->metrics, held_out_, held_out_caches_).value();
  const std::vector<KltLevel>& levels = built->codebook.levels;
  for (size_t i = 1; i < rows.size(); ++i) {
    // What is coded jointly, and what the mean stands for, differ from kind to kind.
    if (levels[i].last_tokens != levels[i - 1].last_tokens) continue;
    if (levels[i].joint_step.has_value() != levels[i - 1].joint_step.has_value()) continue;
    EXPECT_LT(rows[i].error, rows[i - 1].error * 1.05) << "level " << i;
  }
  EXPECT_LT(rows.back().error, 0.02);
  EXPECT_GT(rows.front().error, rows[5].error);
}

TEST_F(CalibrateTest, TheUnrotatedKeysOfOneTokenAreTheSameAtEveryPosition) {
  // The first layer's keys depend on the token and its position alone.
  const KvLayerSet first{.keys = {0}, .values = {}};
  const CalibrationPrompt& prompt = prompts_.front();
  const auto caches = PrefillPrompts(sharer_.model, {prompt}, first, [] {}).value();
  const at::Tensor plain =
      WithoutRotation(caches.front().keys, prompt.positions, first.keys, rotation_);
  for (size_t i = 0; i < prompt.positions.size(); ++i) {
    for (size_t j = i + 1; j < prompt.positions.size(); ++j) {
      if (prompt.ids[prompt.positions[i]] != prompt.ids[prompt.positions[j]]) continue;
      EXPECT_TRUE(at::allclose(plain[static_cast<int64_t>(i)][0], plain[static_cast<int64_t>(j)][0],
                               1e-3, 1e-3));
    }
  }
}

TEST_F(CalibrateTest, TheMetricIsTheErrorBehindTheFusersFirstMatrix) {
  const auto built = Build();
  ASSERT_TRUE(built.ok()) << built.status();
  at::manual_seed(7);
  const at::Tensor error = at::randn(
      {3, built->metrics[1].ApplyTransposed(at::zeros({1, built->metrics[1].num_rows()})).size(1)});
  const double measured = built->metrics[1].Apply(error).square().sum().item<double>();
  const KvLayout& layout = fuser_.config().sharer;
  const int64_t width = layout.num_kv_heads * layout.head_dim;
  double expected = 0;
  for (const auto& [name, tensor] : fuser_.parameters()) {
    for (int32_t t = 0; t < fuser_.config().receiver.num_layers; ++t) {
      if (name != "projectors." + std::to_string(t) + ".value_in.weight") continue;
      if (!fuser_.GateIsOpen(t, Half::kValue)) continue;
      const auto place = std::ranges::find(layers_.values, fuser_.config().layer_map[t]);
      const at::Tensor own = error.narrow(1, (place - layers_.values.begin()) * width, width);
      expected += own.matmul(tensor.narrow(1, 0, width).t()).square().sum().item<double>();
    }
  }
  EXPECT_NEAR(measured, expected, expected * 1e-4);
}

// A small error moves the answer's distribution by half its square in the Fisher information.
TEST_F(CalibrateTest, TheGradientsOfTheAnswerPredictItsDivergence) {
  prompts_.resize(4);
  caches_.resize(4);
  const auto gradients =
      GradientsOfAnswers(receiver_.model, fuser_, layers_, rotation_, prompts_, caches_, [] {});
  ASSERT_TRUE(gradients.ok()) << gradients.status();
  at::manual_seed(7);
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < prompts_.size(); ++i) {
    const auto log_p = [&](const CalibrationCache& cache) {
      return AnswerLogProbabilities(receiver_.model, fuser_, layers_, prompts_[i], cache)
          ->to(at::kDouble);
    };
    // Along the gradient itself, where the fp32 of the models is small beside the effect.
    CalibrationCache changed = caches_[i];
    const at::Tensor& rows = (*gradients)[i].rows[1];
    const at::Tensor direction = rows.sum(0) / rows.sum(0).norm();
    changed.values = changed.values + 0.05 * direction.view(changed.values.sizes());
    const at::Tensor before = log_p(caches_[i]), after = log_p(changed);
    const double divergence = (before.exp() * (before - after)).sum().item<double>();
    const double predicted =
        0.5 * (rows * (0.05 * direction)).sum({1, 2}).square().sum().item<double>();
    EXPECT_NEAR(divergence, predicted, 0.1 * predicted + 1e-7) << i;
  }
}

// On a real pair the last tokens say so much more than the middle that a step fit for the middle is
// finer than the tables reach from the largest joint component; a codebook with it would be
// refused.
TEST_F(CalibrateTest, AStepIsNoFinerThanTheTablesReachFromTheLargestJointComponent) {
  auto gradients =
      GradientsOfAnswers(receiver_.model, fuser_, layers_, rotation_, prompts_, caches_, [] {});
  ASSERT_TRUE(gradients.ok()) << gradients.status();
  for (AnswerGradients& of_prompt : *gradients) {
    for (at::Tensor& rows : of_prompt.rows) rows.slice(1, rows.size(1) - 4) *= 1e6;
  }
  const auto built = Build(&*gradients);
  ASSERT_TRUE(built.ok()) << built.status();
  const int finest = built->codebook.joint.sigma.front() - kKltReach;
  int reached = 0;
  for (const KltLevel& level : built->codebook.levels) {
    if (!level.joint_step) continue;
    EXPECT_GE(*level.joint_step, finest);
    if (*level.joint_step == finest) ++reached;
  }
  EXPECT_GT(reached, 0);  // else this pair does not show it
}

TEST_F(CalibrateTest, TooFewPromptsAreRefused) {
  prompts_.resize(8);
  caches_.resize(8);
  EXPECT_EQ(Build().status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace qc2c
