// `qc2c real`: the demo with real models on real questions; fetches what is missing.
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "experiments/commands.h"
#include "experiments/demo.h"
#include "experiments/downloads.h"
#include "experiments/fetch.h"
#include "experiments/plot.h"
#include "experiments/project_files.h"
#include "experiments/recipe.h"

namespace qc2c {
namespace {

// The recipe that has each pair.
const std::map<std::string, std::string>& Recipes() {
  static const auto* recipes = new std::map<std::string, std::string>{
      {"qwen", "real.yaml"},           {"smollm2", "real.yaml"},      {"fact", "real_fact.yaml"},
      {"prefix", "real_prefix.yaml"},  {"swapped", "real_null.yaml"}, {"gemma", "real_null.yaml"},
      {"zero_cache", "real_null.yaml"}};
  return *recipes;
}

// What the pair and its questions need and the download folders lack.
std::set<std::string> Missing(const Recipe& recipe, const Pair& pair) {
  std::set<std::string> missing;
  std::error_code error;
  std::vector<std::filesystem::path> models = {pair.receiver};
  for (const PairedSharer& sharer : pair.sharers) models.push_back(sharer.model);
  for (const std::filesystem::path& folder : models) {
    if (!std::filesystem::exists(folder / "config.json", error)) {
      missing.insert(folder.filename().string());
    }
  }
  for (const Dataset& dataset : recipe.datasets) {
    if (!std::filesystem::exists(dataset.questions_path, error)) {
      missing.insert(dataset.questions_path.stem().string());
    }
  }
  return missing;
}

absl::Status FetchMissing(const DemoOptions& options) {
  ASSIGN_OR_RETURN(const Recipe recipe, Recipe::Load(options.recipe));
  ASSIGN_OR_RETURN(const Pair pair, recipe.FindPair(options.pair));
  const std::set<std::string> missing = Missing(recipe, pair);
  if (missing.empty()) return absl::OkStatus();
  // The fusers were trained between the weights in the packages; the authors' own are finer.
  ASSIGN_OR_RETURN(const int status, Fetch({.python = options.python,
                                            .names = {missing.begin(), missing.end()},
                                            .source = "packages"}));
  if (status == 0) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("could not fetch ", absl::StrJoin(Missing(recipe, pair), ", "), "; see above"));
}

absl::Status Real(DemoOptions options, const std::string& command_line) {
  ASSIGN_OR_RETURN(const std::filesystem::path root, ProjectFolder());
  options.recipe = root / "experiments" / "recipes" / Recipes().at(options.pair);
  std::error_code error;
  const bool has_gpu = std::filesystem::exists("/dev/nvidia0", error);
  if (options.device == "auto") options.device = has_gpu ? "cuda" : "cpu";
  const bool on_gpu = absl::StartsWith(options.device, "cuda");
  // A GPU is kept busy by many questions at once, a few cores by few.
  if (options.max_batch_size == 0) options.max_batch_size = on_gpu ? 64 : 8;
  if (options.dtype == "auto") options.dtype = on_gpu ? "bf16" : "fp32";
  RETURN_IF_ERROR(FetchMissing(options));
  return RunDemo(options, command_line);
}

}  // namespace

void AddRealCommand(CLI::App& app, const std::string& command_line) {
  CLI::App* command = app.add_subcommand(
      "real", "The demo with real models and real questions; fetches what is missing");
  const auto options = std::make_shared<DemoOptions>();
  options->pair = "qwen";
  options->device = options->dtype = "auto";
  std::set<std::string> names;
  for (const auto& [name, recipe] : Recipes()) names.insert(name);
  command->add_option("--pair", options->pair, "which models (see the recipes real*.yaml)")
      ->check(CLI::IsMember(names));
  command->add_option("--limit", options->limit,
                      "only the first so many questions of each file; 0: all");
  command->add_option("--out", options->out, "the run folder; an existing one is continued");
  command->add_option("--device", options->device, "of both daemons: auto, cpu or cuda[:N]");
  command->add_option("--dtype", options->dtype, "auto (bf16 on a GPU), fp32 or bf16");
  command->add_option("--threads", options->threads, "CPU threads of each daemon")
      ->check(CLI::Range(1, 1024));
  command
      ->add_option("--in-flight", options->in_flight,
                   "questions asked at a time (default: the recipe's)")
      ->check(CLI::Range(1, 1 << 16));
  command
      ->add_option("--max-batch-size", options->max_batch_size,
                   "questions that each daemon computes together (0: 64 on a GPU, 8 otherwise)")
      ->check(CLI::Range(0, 4096));
  AddPythonFlag(*command, options->python);
  command->callback(
      [options, command_line] { ExitUnlessOk("real", Real(*options, command_line)); });
}

}  // namespace qc2c
