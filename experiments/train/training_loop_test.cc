#include "experiments/train/training_loop.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/model/model.h"
#include "common/model/safetensors.h"
#include "experiments/train/test_documents.h"
#include "experiments/train/train_lm.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;

std::filesystem::path FreshFolder(const std::string& name) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

// A loss that depends on the weights, the batch and the random generator.
struct Toy {
  at::Tensor matrix = at::full({3, 2}, 0.5).requires_grad_(true);
  at::Tensor vector = at::full({2}, -0.5).requires_grad_(true);
  int64_t fails_at = -1;
  TrainingTask task;

  Toy() {
    task.name = "toy";
    task.parameters = {{"matrix", matrix}, {"vector", vector}};
    task.optimizers.push_back(MakeMuon({{"matrix", matrix}}, {.decay = 0.1}));
    task.optimizers.push_back(MakeAdamW({{"vector", vector}}, {.lr = 0.01}));
    task.fingerprint = 77;
    task.loss = [this](const DocumentBatch& batch, int64_t step) -> absl::StatusOr<at::Tensor> {
      if (step == fails_at) return absl::AbortedError("killed");
      double target = 0;
      for (const Document* document : batch) target += document->ids[0];
      const at::Tensor input = at::rand({4, 3});
      return (at::matmul(input, matrix) + vector - target * 1e-3).square().mean();
    };
  }
};

TrainingOptions ToyOptions(const std::filesystem::path& state) {
  TrainingOptions options = SmallOptions({{6, {{"a", 1.0}}}, {6, {{"b", 1.0}}}}, 3);
  options.state = state;
  options.warmup_steps = 2;
  options.checkpoint_every = 4;
  options.log_every = 1;
  return options;
}

std::string LogWithoutSeconds(const std::filesystem::path& state) {
  std::ifstream file(state / "log.jsonl");
  std::string text, line;
  while (std::getline(file, line)) text += line.substr(0, line.find(",\"seconds\"")) + "\n";
  return text;
}

TEST(TrainingLoopTest, AResumedRunEqualsAnUninterruptedOneBitForBit) {
  const DocumentPools pools = {{"a", NumberedDocuments(5, 10)}, {"b", NumberedDocuments(5, 50)}};
  Toy whole;
  const TrainingOptions whole_options = ToyOptions(FreshFolder("loop_whole"));
  ASSERT_TRUE(RunTraining(whole.task, pools, {}, whole_options).ok());

  const TrainingOptions options = ToyOptions(FreshFolder("loop_resumed"));
  Toy killed;
  killed.fails_at = 7;  // three steps after the checkpoint
  EXPECT_EQ(RunTraining(killed.task, pools, {}, options).code(), absl::StatusCode::kAborted);
  Toy resumed;
  ASSERT_TRUE(RunTraining(resumed.task, pools, {}, options).ok());

  EXPECT_FALSE(whole.matrix.equal(killed.matrix));
  EXPECT_TRUE(whole.matrix.equal(resumed.matrix));
  EXPECT_TRUE(whole.vector.equal(resumed.vector));
  EXPECT_EQ(LogWithoutSeconds(whole_options.state), LogWithoutSeconds(options.state));
}

TEST(TrainingLoopTest, AStoppedRunKeepsItsLastStep) {
  const DocumentPools pools = {{"a", NumberedDocuments(5, 10)}, {"b", NumberedDocuments(5, 50)}};
  TrainingOptions options = ToyOptions(FreshFolder("loop_stopped"));
  int asked = 0;
  options.stop_requested = [&] { return ++asked == 5; };
  Toy stopped;
  const absl::Status status = RunTraining(stopped.task, pools, {}, options);
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(std::string(status.message()), HasSubstr("stopped at step 5 of 12"));
  options.stop_requested = nullptr;
  Toy resumed;
  ASSERT_TRUE(RunTraining(resumed.task, pools, {}, options).ok());
  Toy whole;
  ASSERT_TRUE(RunTraining(whole.task, pools, {}, ToyOptions(FreshFolder("loop_whole"))).ok());
  EXPECT_TRUE(whole.matrix.equal(resumed.matrix));
}

TEST(TrainingLoopTest, ACheckpointOfAnotherRecipeIsRefused) {
  const DocumentPools pools = {{"a", NumberedDocuments(5, 10)}, {"b", NumberedDocuments(5, 50)}};
  const TrainingOptions options = ToyOptions(FreshFolder("loop_other"));
  Toy first;
  ASSERT_TRUE(RunTraining(first.task, pools, {}, options).ok());
  Toy other;
  other.task.fingerprint = 78;
  const absl::Status status = RunTraining(other.task, pools, {}, options);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("another recipe"));
}

TEST(TrainingLoopTest, AGradientThatIsNotFiniteChangesNothingAndFiveInARowStopTheRun) {
  const DocumentPools pools = {{"a", NumberedDocuments(5, 10)}, {"b", NumberedDocuments(5, 50)}};
  const auto run = [&](int64_t first_bad, int64_t last_bad, Toy& toy) {
    const auto good = toy.task.loss;
    toy.task.loss = [&, good](const DocumentBatch& batch, int64_t step) {
      const bool is_bad = step >= first_bad && step <= last_bad;
      return is_bad ? absl::StatusOr<at::Tensor>((toy.matrix * 0).sum().sqrt()) : good(batch, step);
    };
    return RunTraining(toy.task, pools, {}, ToyOptions(FreshFolder("loop_nan")));
  };
  Toy once;
  EXPECT_TRUE(run(5, 5, once).ok());
  EXPECT_TRUE(once.matrix.isfinite().all().item<bool>());
  Toy always;
  EXPECT_THAT(std::string(run(5, 11, always).message()), HasSubstr("5 steps up to 10: training"));
}

TEST(TrainingLoopTest, ADivergedLossStopsTheRun) {
  const DocumentPools pools = {{"a", NumberedDocuments(5, 10)}, {"b", NumberedDocuments(5, 50)}};
  Toy toy;
  toy.task.loss = [&](const DocumentBatch&, int64_t) -> absl::StatusOr<at::Tensor> {
    return (toy.matrix.sum() * 1e30f).square();
  };
  const absl::Status status = RunTraining(toy.task, pools, {}, ToyOptions(FreshFolder("loop_inf")));
  EXPECT_THAT(std::string(status.message()), HasSubstr("diverged"));
}

constexpr char kTinyConfig[] = R"({
  "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 40,
  "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
  "num_key_value_heads": 1, "head_dim": 8, "hidden_act": "silu", "max_position_embeddings": 32,
  "rope_theta": 10000.0, "rms_norm_eps": 1e-6, "tie_word_embeddings": true,
  "attention_bias": false, "eos_token_id": 2, "torch_dtype": "float16"})";

LmRecipe TinyRecipe(const std::filesystem::path& folder) {
  std::string documents;
  for (int i = 0; i < 8; ++i) {  // the answer follows from the first token alone
    absl::StrAppend(&documents, "{\"kind\":\"a\",\"segments\":[[[", 10 + i, ",1],0],[[", 20 + i,
                    "],1]]}\n");
  }
  EXPECT_TRUE(WriteFileAtomically(folder / "documents.jsonl", documents).ok());
  EXPECT_TRUE(WriteFileAtomically(folder / "config.json", kTinyConfig).ok());
  LmRecipe recipe;
  recipe.training = SmallOptions({{60, {{"a", 1.0}}}}, 8);
  recipe.training.documents = recipe.training.check_documents = folder / "documents.jsonl";
  recipe.training.state = folder / "state";
  recipe.training.adamw.lr = 0.02;
  recipe.model = folder;
  return recipe;
}

TEST(TrainLmTest, LearnsEightFactsAndWritesWeightsThatLoad) {
  const std::filesystem::path folder = FreshFolder("train_lm");
  const LmRecipe recipe = TinyRecipe(folder);
  ASSERT_TRUE(TrainLm(recipe).ok());
  const auto model = Model::Load(folder, {});
  ASSERT_TRUE(model.ok()) << model.status();
  const auto documents = ReadDocuments(recipe.training.documents, {40});
  ASSERT_TRUE(documents.ok());
  const auto accuracy = CheckAlone(*model, *documents);
  ASSERT_TRUE(accuracy.ok()) << accuracy.status();
  EXPECT_EQ(accuracy->at("a"), 1.0);
  EXPECT_THAT(LogWithoutSeconds(folder / "state"), HasSubstr("\"check\":{\"a\":1.0}"));
}

TEST(TrainLmTest, TheFirstKeyHeadStartsAsItsQueryHead) {
  const std::filesystem::path folder = FreshFolder("initial_weights");
  LmRecipe recipe = TinyRecipe(folder);
  const auto config = ModelConfig::Load(folder);
  ASSERT_TRUE(config.ok()) << config.status();
  auto model = Model::Create(*config, {});
  ASSERT_TRUE(model.ok()) << model.status();
  at::manual_seed(1);
  InitializeWeights(*model, recipe);
  at::Tensor query, key, norm;
  for (const auto& [name, tensor] : model->parameters()) {
    if (name == "model.layers.1.self_attn.q_proj.weight") query = tensor;
    if (name == "model.layers.1.self_attn.k_proj.weight") key = tensor;
    if (name == "model.norm.weight") norm = tensor;
  }
  EXPECT_TRUE(key.equal(query.narrow(0, 0, 8)));
  EXPECT_TRUE(norm.equal(at::ones({16})));
}

}  // namespace
}  // namespace qc2c
