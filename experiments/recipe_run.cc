#include "experiments/recipe_run.h"

#include <cstdio>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "experiments/json_difference.h"
#include "experiments/manifest.h"
#include "experiments/report.h"

namespace qc2c {
namespace {

constexpr absl::Duration kCardPatience = absl::Seconds(10);

absl::Status CheckSameModels(const v1::ReceiverCard& before, const v1::ReceiverCard& now) {
  const std::string difference = JsonDifference(ModelManifest(before), ModelManifest(now));
  if (difference.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the receiver came back as another: ", difference));
}

}  // namespace

absl::StatusOr<RunOutcome> RunRecipeInFolder(const Recipe& recipe, ReceiverClient& client,
                                             const RunFolder& folder, const RecipeRun& run) {
  RETURN_IF_ERROR(folder.LogCommand(run.command_line));
  ASSIGN_OR_RETURN(const v1::ReceiverCard card, client.Describe(kCardPatience));
  RETURN_IF_ERROR(folder.WriteManifestOnce("models", ModelManifest(card)));
  RETURN_IF_ERROR(folder.UpdateManifest("code", CodeManifest()));
  RETURN_IF_ERROR(folder.UpdateManifest("machine", MachineManifest()));
  AskOptions ask = run.ask;
  ask.check_receiver = [&](const v1::ReceiverCard& now) { return CheckSameModels(card, now); };
  ASSIGN_OR_RETURN(const RunOutcome outcome, RunRecipe(recipe, client, folder, ask, stderr));
  ASSIGN_OR_RETURN(const Report report, MakeReport(folder.path()));
  RETURN_IF_ERROR(WriteFileAtomically(folder.path() / "results" / "report.md", report.markdown));
  std::cout << report.terminal << std::flush;
  return outcome;
}

}  // namespace qc2c
