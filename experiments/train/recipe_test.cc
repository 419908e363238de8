#include "experiments/train/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kRest[] =
    "phases: [{steps: 3, mix: {mc: 1.0}}]\nadamw: {lr: 0.1}\nmuon: {lr: 0.02}\n";

absl::StatusOr<LmRecipe> Read(const std::string& content) {
  const std::filesystem::path path = std::filesystem::path(testing::TempDir()) / "recipe_test.yaml";
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return ReadLmRecipe(path);
}

TEST(RecipeTest, EveryCommittedRecipeIsRead) {
  const std::filesystem::path folder =
      std::filesystem::path(QC2C_SOURCE_DIR) / "experiments" / "recipes";
  for (const char* name : {"receiver-qwen3", "sharer-qwen2", "sharer-llama"}) {
    const auto recipe = ReadLmRecipe(folder / absl::StrCat("train_", name, ".yaml"));
    ASSERT_TRUE(recipe.ok()) << recipe.status();
    EXPECT_EQ(recipe->model.filename(), name);
    EXPECT_EQ(recipe->training.phases.size(), 2);
  }
  for (const char* name : {"qwen2", "llama"}) {
    const auto recipe = ReadFuserRecipe(folder / absl::StrCat("train_fuser_", name, ".yaml"));
    ASSERT_TRUE(recipe.ok()) << recipe.status();
    EXPECT_EQ(recipe->hidden_dim, 96);
  }
}

TEST(RecipeTest, NoiseMayPruneWithoutQuantizing) {
  const std::filesystem::path committed =
      std::filesystem::path(QC2C_SOURCE_DIR) / "experiments/recipes/train_fuser_qwen2.yaml";
  const std::filesystem::path path = std::filesystem::path(testing::TempDir()) / "pruning.yaml";
  const std::string content = ReadFile(committed).value();
  ASSERT_THAT(content, Not(HasSubstr("\nnoise:")));
  ASSERT_TRUE(WriteFileAtomically(path, content + "\nnoise: {prune_probability: 0.75}\n").ok());
  const auto recipe = ReadFuserRecipe(path);
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  ASSERT_TRUE(recipe->noise.has_value());
  EXPECT_EQ(recipe->noise->prune_probability, 0.75);
  EXPECT_EQ(recipe->noise->bits, std::vector<int32_t>{16});
}

TEST(RecipeTest, FaultsNameTheField) {
  const std::vector<std::pair<std::string, std::string>> faults = {
      {kRest, ".seed: missing"},
      {absl::StrCat("seed: x\n", kRest), ".seed: 'x' has the wrong type"},
      {absl::StrCat("seed: 1\nlearning: 2\n", kRest), ".learning: unknown field"},
      {absl::StrCat("seed: 1\nclip: 0\n", kRest), ".clip: 0"},
      {absl::StrCat("seed: 1\nbatch_size: 0\n", kRest), ".batch_size: 0"},
      {"seed: 1\nadamw: {lr: 0.1}\nmuon: {lr: 1}\n", ".phases: expected a list"},
      {"seed: 1\nadamw: {lr: 0.1, beta: 1}\nmuon: {lr: 1}\nphases: [{steps: 1, mix: {a: 1}}]",
       ".adamw.beta: unknown field"},
      {"seed: 1\nadamw: {lr: 0.1}\nmuon: {lr: 1}\nphases: [{steps: 1, mix: {a: -1}}]",
       ".phases[0].mix.a: expected > 0"},
      {"seed: [", "recipe_test.yaml"},
      {absl::StrCat("seed: 1\n? [a, b]\n: 1\n", kRest), ".(not text): unknown field"},
      {absl::StrCat("seed: 1\n? {a: b}\n: 1\n", kRest), ".(not text): unknown field"},
  };
  for (const auto& [content, message] : faults) {
    const auto recipe = Read(content);
    ASSERT_FALSE(recipe.ok()) << content;
    EXPECT_THAT(std::string(recipe.status().message()), HasSubstr(message));
  }
}

}  // namespace
}  // namespace qc2c
