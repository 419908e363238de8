// `qc2c eval`: a recipe, or one point on one file of questions, against running daemons.
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/rpc/request_limits.h"
#include "experiments/commands.h"
#include "experiments/project_files.h"
#include "experiments/receiver_flags.h"
#include "experiments/recipe_run.h"
#include "experiments/stop_signal.h"

namespace qc2c {
namespace {

struct EvalFlags {
  ReceiverFlags receiver;
  std::string recipe;
  std::string questions;
  std::string mode;
  std::string codec;
  std::string format;
  std::string method = "generate";
  uint32_t max_new_tokens = 64;
  uint64_t limit = 0;
  uint32_t in_flight = 0;
  double retry_seconds = 60;
  std::string out;
};

// One dataset and one point, from flags.
absl::StatusOr<Recipe> RecipeOfFlags(const EvalFlags& flags) {
  if (flags.questions.empty() || flags.mode.empty()) {
    return absl::InvalidArgumentError("needs --recipe FILE, or --questions FILE and --mode MODE");
  }
  Dataset dataset;
  dataset.questions_path = flags.questions;
  dataset.name = dataset.questions_path.stem().string();
  dataset.max_new_tokens = flags.max_new_tokens;
  ASSIGN_OR_RETURN(dataset.method, MethodFromName(flags.method));
  ASSIGN_OR_RETURN(const v1::Mode mode, ModeFromName(flags.mode));
  std::optional<CodecSpec> codec;
  if (!flags.codec.empty()) {
    ASSIGN_OR_RETURN(codec, CodecSpec::Parse(flags.codec));
  }
  ASSIGN_OR_RETURN(Point point, MakePoint(mode, codec));
  dataset.points.push_back(std::move(point));
  std::string format = flags.format;
  if (format.empty()) {
    ASSIGN_OR_RETURN(const std::vector<Question> first, LoadQuestions(flags.questions, 1));
    format = first.front().is_open() ? "embedded_open" : "embedded_mc";
  }
  ASSIGN_OR_RETURN(dataset.format_path, PromptFormatPath(format));
  Recipe recipe;
  recipe.name = "eval";
  recipe.datasets.push_back(std::move(dataset));
  return recipe;
}

absl::StatusOr<Recipe> RecipeOf(const EvalFlags& flags) {
  Recipe recipe;
  if (flags.recipe.empty()) {
    ASSIGN_OR_RETURN(recipe, RecipeOfFlags(flags));
  } else {
    ASSIGN_OR_RETURN(recipe, Recipe::Load(flags.recipe));
  }
  if (flags.in_flight != 0) recipe.in_flight = flags.in_flight;
  for (Dataset& dataset : recipe.datasets) {
    if (flags.limit != 0) dataset.limit = flags.limit;
  }
  RETURN_IF_ERROR(recipe.LoadDatasets());
  return recipe;
}

absl::Status Eval(const EvalFlags& flags, const std::string& command_line) {
  ASSIGN_OR_RETURN(const Recipe recipe, RecipeOf(flags));
  ASSIGN_OR_RETURN(const auto client, flags.receiver.Connect());
  ASSIGN_OR_RETURN(const RunFolder folder, RunFolder::Open(flags.out, recipe.Resolved()));
  RecipeRun run{.command_line = command_line};
  run.ask.in_flight = recipe.in_flight;
  run.ask.retry_for = absl::Seconds(flags.retry_seconds);
  run.ask.stopped = StopRequested;
  const absl::StatusOr<RunOutcome> outcome = RunRecipeInFolder(recipe, *client, folder, run);
  if (!outcome.ok()) {
    if (absl::IsCancelled(outcome.status()) || absl::IsUnavailable(outcome.status())) {
      std::cerr << "The same command continues where this one stopped.\n";
    }
    return outcome.status();
  }
  if (outcome->num_incomplete > 0) {
    return absl::AbortedError(absl::StrCat(outcome->num_incomplete, " points are incomplete; ",
                                           "the same command asks again what is missing"));
  }
  return absl::OkStatus();
}

}  // namespace

void AddEvalCommand(CLI::App& app, const std::string& command_line) {
  CLI::App* command =
      app.add_subcommand("eval", "Ask questions of a receiver and score the answers");
  const auto flags = std::make_shared<EvalFlags>();
  ReceiverFlags::Add(*command, flags->receiver);
  CLI::Option* recipe = command->add_option(
      "--recipe", flags->recipe, "a YAML file with datasets and points (see experiments/recipes)");
  CLI::Option* of_one_point[] = {
      command->add_option("--questions", flags->questions, "a JSONL file of questions"),
      command->add_option("--mode", flags->mode,
                          "fused, receiver, sharer, text, text_answer or prefix"),
      command->add_option("--codec", flags->codec,
                          "for fused and prefix: SCHEME[,key=value]..., e.g. "
                          "int8,select=value_norm,keep_ratio=0.25"),
      command->add_option("--prompt-format", flags->format,
                          "a name in experiments/prompts or a file; default: embedded_mc or, for "
                          "open questions, embedded_open"),
      command->add_option("--method", flags->method, "generate, logits or loglikelihood"),
      command->add_option("--max-new-tokens", flags->max_new_tokens, "for generate")
          ->check(CLI::Range(1u, kMaxNewTokens))};
  for (CLI::Option* option : of_one_point) option->excludes(recipe);  // which has its own
  command->add_option("--limit", flags->limit, "only the first so many questions; 0: all");
  command
      ->add_option("--in-flight", flags->in_flight,
                   "questions asked at a time (default 64, or the recipe's)")
      ->check(CLI::Range(1, 1 << 16));
  command
      ->add_option("--retry-seconds", flags->retry_seconds,
                   "how long to wait for a receiver or sharer that is away")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--out", flags->out, "the run folder; an existing one is continued")
      ->required();
  command->callback([flags, command_line] { ExitUnlessOk("eval", Eval(*flags, command_line)); });
}

}  // namespace qc2c
