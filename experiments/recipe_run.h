// A recipe against a running receiver, from the folder's first manifest to the table.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "experiments/receiver_client.h"
#include "experiments/recipe.h"
#include "experiments/run_folder.h"
#include "experiments/runner.h"

namespace qc2c {

struct RecipeRun {
  std::string command_line;
  AskOptions ask;
};

// Writes manifests and the command, asks, writes results/report.md and prints the table.
// FAILED_PRECONDITION names what differs if the receiver is not the one that the folder's answers
// are of, at the start or after it went away. REQUIRES: recipe.LoadDatasets has passed, and the
// folder is this recipe's.
absl::StatusOr<RunOutcome> RunRecipeInFolder(const Recipe& recipe, ReceiverClient& client,
                                             const RunFolder& folder, const RecipeRun& run);

}  // namespace qc2c
