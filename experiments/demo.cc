#include "experiments/demo.h"

#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "experiments/byte_agreement.h"
#include "experiments/daemon_pair.h"
#include "experiments/metrics_page.h"
#include "experiments/plot.h"
#include "experiments/project_files.h"
#include "experiments/recipe_run.h"
#include "experiments/stop_signal.h"

namespace qc2c {
namespace {

absl::StatusOr<Recipe> RecipeOf(const DemoOptions& options) {
  std::filesystem::path path = options.recipe;
  if (path.empty()) {
    ASSIGN_OR_RETURN(const std::filesystem::path root, ProjectFolder());
    path = root / "experiments" / "recipes" / "demo.yaml";
  }
  ASSIGN_OR_RETURN(Recipe recipe, Recipe::Load(path));
  if (options.in_flight != 0) recipe.in_flight = options.in_flight;
  for (Dataset& dataset : recipe.datasets) {
    if (options.limit != 0) dataset.limit = options.limit;
  }
  RETURN_IF_ERROR(recipe.LoadDatasets());
  return recipe;
}

std::filesystem::path FolderOf(const DemoOptions& options, const Recipe& recipe, const Pair& pair) {
  if (!options.out.empty()) return options.out;
  const bool is_default = pair.name == recipe.pairs.front().name;
  return std::filesystem::path("runs") /
         (is_default ? recipe.name : absl::StrCat(recipe.name, "-", pair.name));
}

// Prints the three counts and keeps both pages beside the logs.
absl::Status ShowByteCounts(const DaemonPair& daemons, const SessionTotals& session,
                            const std::filesystem::path& logs) {
  std::string sharers;
  for (size_t i = 0; i < daemons.num_sharers(); ++i) {
    ASSIGN_OR_RETURN(const std::string page, FetchMetrics(daemons.sharer_metrics(i)));
    const std::string file = absl::StrCat(DaemonPair::SharerName(i), ".metrics");
    RETURN_IF_ERROR(WriteFileAtomically(logs / file, page));
    sharers += page;
  }
  ASSIGN_OR_RETURN(const std::string receiver, FetchMetrics(daemons.receiver_metrics()));
  RETURN_IF_ERROR(WriteFileAtomically(logs / "qc2c-receiver.metrics", receiver));
  ASSIGN_OR_RETURN(const ByteAgreement agreement, CompareByteCounts(sharers, receiver, session));
  std::cout << "\n" << agreement.table << std::flush;
  if (!agreement.agrees && agreement.comparable) {
    return absl::InternalError("the sharers', the receiver's and the driver's counts differ");
  }
  return absl::OkStatus();
}

absl::Status RunWithDaemons(const DemoOptions& options, const Recipe& recipe, const Pair& pair,
                            const RunFolder& folder, RecipeRun run) {
  std::cerr << "starting";
  for (const PairedSharer& sharer : pair.sharers) {
    std::cerr << " qc2c-sharer (" << sharer.model.filename().string() << "),";
  }
  std::cerr << " qc2c-receiver (" << pair.receiver.filename().string() << ")\n";
  ASSIGN_OR_RETURN(const auto daemons, DaemonPair::Start({.models = pair,
                                                          .device = options.device,
                                                          .dtype = options.dtype,
                                                          .threads = options.threads,
                                                          .max_batch_size = options.max_batch_size,
                                                          .logs = folder.Logs()}));
  run.ask.socket_bytes = [&] { return daemons->socket_bytes().both(); };
  ASSIGN_OR_RETURN(const auto client, ReceiverClient::Create(daemons->receiver_address()));
  ASSIGN_OR_RETURN(const RunOutcome outcome, RunRecipeInFolder(recipe, *client, folder, run));
  RETURN_IF_ERROR(ShowByteCounts(*daemons, outcome.session, folder.Logs()));
  if (outcome.num_incomplete > 0) {
    return absl::AbortedError(absl::StrCat(outcome.num_incomplete, " points are incomplete"));
  }
  return absl::OkStatus();
}

absl::Status DrawCurve(const DemoOptions& options, const std::filesystem::path& folder) {
  const absl::Status status =
      Plot({.python = options.python, .folders = {folder.string()}, .out = ""});
  if (!absl::IsUnavailable(status) && !absl::IsNotFound(status)) return status;
  std::cerr << "no curve: " << status.message() << "\n";  // the numbers are there without it
  return absl::OkStatus();
}

}  // namespace

absl::Status RunDemo(const DemoOptions& options, const std::string& command_line) {
  ASSIGN_OR_RETURN(const Recipe recipe, RecipeOf(options));
  ASSIGN_OR_RETURN(const Pair pair, recipe.FindPair(options.pair));
  // First of all: a folder of another recipe, or that is in use, is left as it is.
  ASSIGN_OR_RETURN(const RunFolder folder,
                   RunFolder::Open(FolderOf(options, recipe, pair), recipe.Resolved()));
  RecipeRun run{.command_line = command_line};
  run.ask.in_flight = recipe.in_flight;
  run.ask.stopped = StopRequested;
  // A daemon that ended will not come back by itself.
  run.ask.retry_for = absl::Seconds(10);
  const absl::Status status = RunWithDaemons(options, recipe, pair, folder, run);
  if (!status.ok()) {
    if (StopRequested()) std::cerr << "\nThe same command continues where this one stopped.\n";
    return status;
  }
  RETURN_IF_ERROR(DrawCurve(options, folder.path()));
  if (!recipe.note.empty()) std::cout << "\n" << recipe.note << "\n";
  std::cout << "run folder: " << folder.path().string() << std::endl;
  return absl::OkStatus();
}

}  // namespace qc2c
