#include "experiments/train/command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "experiments/train/recipe.h"
#include "experiments/train/train_fuser.h"
#include "experiments/train/train_lm.h"

namespace qc2c {
namespace {

// What the command line may say over the recipe.
struct Overrides {
  std::string config;
  std::string documents, check_documents, state, device;
  std::string model, receiver, sharer, fuser;
  std::optional<FuserTraining::Sharer> sharer_cache;
  int threads = 0;
  std::function<bool()> stop_requested;
};

void AddTrainingFlags(CLI::App& command, Overrides& flags) {
  command
      .add_option("--config", flags.config,
                  "Recipe, a YAML file (experiments/recipes/train_*.yaml)")
      ->required();
  command.add_option("--documents", flags.documents, "Training documents (JSON lines)");
  command.add_option("--check-documents", flags.check_documents,
                     "Documents to score now and then (JSON lines)");
  command.add_option("--state", flags.state,
                     "Folder of the checkpoint and the loss log; training continues from it");
  command.add_option("--device", flags.device, "cpu or cuda");
  command.add_option("--threads", flags.threads, "CPU threads")->check(CLI::Range(1, 1024));
}

absl::Status Apply(const Overrides& flags, TrainingOptions& training) {
  if (!flags.documents.empty()) training.documents = flags.documents;
  if (!flags.check_documents.empty()) training.check_documents = flags.check_documents;
  if (!flags.state.empty()) training.state = flags.state;
  if (!flags.device.empty()) training.device = flags.device;
  if (flags.threads > 0) training.threads = flags.threads;
  training.stop_requested = flags.stop_requested;
  if (training.device != "cpu" && !absl::StartsWith(training.device, "cuda")) {
    return absl::InvalidArgumentError(
        absl::StrCat("device: '", training.device, "', expected cpu or cuda"));
  }
  if (training.documents.empty()) return absl::InvalidArgumentError("documents: missing");
  if (training.state.empty()) return absl::InvalidArgumentError("state: missing");
  return absl::OkStatus();
}

absl::Status Override(std::string_view name, const std::string& flag, std::filesystem::path& path) {
  if (!flag.empty()) path = flag;
  if (path.empty()) return absl::InvalidArgumentError(absl::StrCat(std::string(name), ": missing"));
  return absl::OkStatus();
}

absl::Status RunLm(const Overrides& flags) {
  ASSIGN_OR_RETURN(LmRecipe recipe, ReadLmRecipe(flags.config));
  RETURN_IF_ERROR(Apply(flags, recipe.training));
  RETURN_IF_ERROR(Override("model", flags.model, recipe.model));
  return TrainLm(recipe);
}

absl::Status RunFuser(const Overrides& flags) {
  ASSIGN_OR_RETURN(FuserRecipe recipe, ReadFuserRecipe(flags.config));
  RETURN_IF_ERROR(Apply(flags, recipe.training));
  RETURN_IF_ERROR(Override("receiver", flags.receiver, recipe.receiver));
  RETURN_IF_ERROR(Override("sharer", flags.sharer, recipe.sharer));
  RETURN_IF_ERROR(Override("fuser", flags.fuser, recipe.fuser));
  recipe.sharer_cache = flags.sharer_cache.value_or(recipe.sharer_cache);
  return TrainFuser(recipe);
}

absl::Status RunCheck(const CheckRequest& request) {
  ASSIGN_OR_RETURN(const auto table, CheckModels(request));
  for (const auto& [setting, accuracy] : table) {
    for (const auto& [kind, share] : accuracy) {
      std::printf("%-9s %-14s %.4f\n", setting.c_str(), kind.c_str(), share);
    }
  }
  return absl::OkStatus();
}

}  // namespace

void AddTrainCommand(CLI::App& app, std::function<bool()> stop_requested, absl::Status* result) {
  CLI::App* train = app.add_subcommand("train", "Train a language model or a fuser, or score them");
  train->require_subcommand(1);
  auto flags = std::make_shared<Overrides>();
  flags->stop_requested = std::move(stop_requested);

  CLI::App* lm = train->add_subcommand("lm", "Train a language model from scratch");
  AddTrainingFlags(*lm, *flags);
  lm->add_option("--model", flags->model,
                 "Model folder with config.json; weights are written there");
  lm->callback([flags, result] { *result = RunLm(*flags); });

  CLI::App* fuser = train->add_subcommand("fuser", "Train a fuser between two frozen models");
  AddTrainingFlags(*fuser, *flags);
  fuser->add_option("--receiver", flags->receiver, "Model folder of the receiver");
  fuser->add_option("--sharer", flags->sharer, "Model folder of the sharer");
  fuser->add_option("--fuser", flags->fuser, "Folder to write the fuser to");
  fuser
      ->add_option("--sharer-cache", flags->sharer_cache,
                   "prompt, or zero_cache for a control that never sees the sharer")
      ->transform(CLI::CheckedTransformer(std::map<std::string, FuserTraining::Sharer>{
          {"prompt", FuserTraining::Sharer::kPrompt},
          {"zero_cache", FuserTraining::Sharer::kZeroCache}}));
  fuser->callback([flags, result] { *result = RunFuser(*flags); });

  auto request = std::make_shared<CheckRequest>();
  CLI::App* check = train->add_subcommand("check", "Share of right answers by kind of document");
  check->add_option("--documents", request->documents, "Documents (JSON lines)")->required();
  check->add_option("--receiver", request->receiver, "Model folder")->required();
  check->add_option("--sharer", request->sharer, "Model folder of the sharer");
  check->add_option("--fuser", request->fuser, "Fuser folder");
  check->add_option("--device", request->device, "cpu or cuda");
  check->add_option("--dtype", request->dtype, "fp32 or bf16")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, at::ScalarType>{{"fp32", at::kFloat}, {"bf16", at::kBFloat16}}));
  check->add_option("--threads", request->threads, "CPU threads")->check(CLI::Range(1, 1024));
  check->callback([request, result] { *result = RunCheck(*request); });
}

}  // namespace qc2c
