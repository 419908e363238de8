// `qc2c demo`: starts a sharer and a receiver, asks everything in a recipe, draws the curve, stops
// them.
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "experiments/byte_agreement.h"
#include "experiments/commands.h"
#include "experiments/daemon_pair.h"
#include "experiments/metrics_page.h"
#include "experiments/plot.h"
#include "experiments/project_files.h"
#include "experiments/recipe_run.h"
#include "experiments/stop_signal.h"

namespace qc2c {
namespace {

struct DemoFlags {
  std::string recipe;
  std::string sharer;
  std::string out;
  std::string device = "cpu";
  std::string dtype = "fp32";
  int threads = 1;
  uint64_t limit = 0;
  uint32_t in_flight = 0;
  std::string python = "python3";
};

absl::StatusOr<Recipe> RecipeOf(const DemoFlags& flags) {
  std::filesystem::path path = flags.recipe;
  if (path.empty()) {
    ASSIGN_OR_RETURN(const std::filesystem::path root, ProjectFolder());
    path = root / "experiments" / "recipes" / "demo.yaml";
  }
  ASSIGN_OR_RETURN(Recipe recipe, Recipe::Load(path));
  if (flags.in_flight != 0) recipe.in_flight = flags.in_flight;
  for (Dataset& dataset : recipe.datasets) {
    if (flags.limit != 0) dataset.limit = flags.limit;
  }
  RETURN_IF_ERROR(recipe.LoadDatasets());
  return recipe;
}

std::filesystem::path FolderOf(const DemoFlags& flags, const Recipe& recipe, const Pair& pair) {
  if (!flags.out.empty()) return flags.out;
  const bool is_default = pair.name == recipe.pairs.front().name;
  return std::filesystem::path("runs") /
         (is_default ? recipe.name : absl::StrCat(recipe.name, "-", pair.name));
}

// Prints the three counts and keeps both pages beside the logs.
absl::Status ShowByteCounts(const DaemonPair& daemons, const SessionTotals& session,
                            const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const std::string sharer, FetchMetrics(daemons.sharer_metrics()));
  ASSIGN_OR_RETURN(const std::string receiver, FetchMetrics(daemons.receiver_metrics()));
  RETURN_IF_ERROR(WriteFileAtomically(folder / "logs" / "qc2c-sharer.metrics", sharer));
  RETURN_IF_ERROR(WriteFileAtomically(folder / "logs" / "qc2c-receiver.metrics", receiver));
  ASSIGN_OR_RETURN(const ByteAgreement agreement, CompareByteCounts(sharer, receiver, session));
  std::cout << "\n" << agreement.table << std::flush;
  if (!agreement.agrees && session.asked_again == 0) {
    return absl::InternalError("the sharer's, the receiver's and the driver's counts differ");
  }
  return absl::OkStatus();
}

absl::Status RunWithDaemons(const DemoFlags& flags, const Recipe& recipe, const Pair& pair,
                            RecipeRun run) {
  std::cerr << "starting qc2c-sharer (" << pair.sharer.filename().string()
            << ") and qc2c-receiver (" << pair.receiver.filename().string() << ")\n";
  ASSIGN_OR_RETURN(const auto daemons, DaemonPair::Start({.models = pair,
                                                          .device = flags.device,
                                                          .dtype = flags.dtype,
                                                          .threads = flags.threads,
                                                          .logs = run.folder / "logs"}));
  run.ask.socket_bytes = [&] { return daemons->socket_bytes().both(); };
  ASSIGN_OR_RETURN(const auto client, ReceiverClient::Create(daemons->receiver_address()));
  ASSIGN_OR_RETURN(const RunOutcome outcome, RunRecipeInFolder(recipe, *client, run));
  RETURN_IF_ERROR(ShowByteCounts(*daemons, outcome.session, run.folder));
  if (outcome.num_incomplete > 0) {
    return absl::AbortedError(absl::StrCat(outcome.num_incomplete, " points are incomplete"));
  }
  return absl::OkStatus();
}

absl::Status DrawCurve(const DemoFlags& flags, const std::filesystem::path& folder) {
  const absl::Status status =
      Plot({.python = flags.python, .folders = {folder.string()}, .out = ""});
  if (!absl::IsUnavailable(status) && !absl::IsNotFound(status)) return status;
  std::cerr << "no curve: " << status.message() << "\n";  // the numbers are there without it
  return absl::OkStatus();
}

absl::Status Demo(const DemoFlags& flags, const std::string& command_line) {
  ASSIGN_OR_RETURN(const Recipe recipe, RecipeOf(flags));
  ASSIGN_OR_RETURN(const Pair pair, recipe.FindPair(flags.sharer));
  RecipeRun run{.folder = FolderOf(flags, recipe, pair), .command_line = command_line};
  run.ask.in_flight = recipe.in_flight;
  run.ask.stopped = StopRequested;
  // A daemon that ended will not come back by itself.
  run.ask.retry_for = absl::Seconds(10);
  std::error_code error;
  std::filesystem::create_directories(run.folder / "logs", error);
  const absl::Status status = RunWithDaemons(flags, recipe, pair, run);
  if (!status.ok()) {
    if (StopRequested()) std::cerr << "\nThe same command continues where this one stopped.\n";
    return status;
  }
  RETURN_IF_ERROR(DrawCurve(flags, run.folder));
  if (!recipe.note.empty()) std::cout << "\n" << recipe.note << "\n";
  std::cout << "run folder: " << run.folder.string() << std::endl;
  return absl::OkStatus();
}

}  // namespace

void AddDemoCommand(CLI::App& app, const std::string& command_line) {
  CLI::App* command = app.add_subcommand(
      "demo", "Start a sharer and a receiver, measure accuracy against bytes, draw the curve");
  const auto flags = std::make_shared<DemoFlags>();
  command->add_option("--recipe", flags->recipe,
                      "what to ask (default: experiments/recipes/demo.yaml)");
  command->add_option("--sharer", flags->sharer,
                      "which of the recipe's pairs: qwen or llama (default: the first)");
  command->add_option("--out", flags->out,
                      "the run folder; an existing one is continued (default: runs/demo, or "
                      "runs/demo-SHARER)");
  command->add_option("--device", flags->device, "of both daemons: cpu or cuda[:N]");
  command->add_option("--dtype", flags->dtype, "of both models: fp32 or bf16");
  command->add_option("--threads", flags->threads, "CPU threads of each daemon")
      ->check(CLI::Range(1, 1024));
  command->add_option("--limit", flags->limit,
                      "only the first so many questions of each file; 0: all");
  command
      ->add_option("--in-flight", flags->in_flight,
                   "questions asked at a time (default: the recipe's)")
      ->check(CLI::Range(1, 1 << 16));
  AddPythonFlag(*command, flags->python);
  command->callback([flags, command_line] { ExitUnlessOk("demo", Demo(*flags, command_line)); });
}

}  // namespace qc2c
