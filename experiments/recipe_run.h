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

// Opens or continues the folder, writes manifests and the command, asks, writes results/report.md
// and prints the table. REQUIRES: recipe.LoadDatasets has passed.
absl::StatusOr<RunOutcome> RunRecipeInFolder(const Recipe& recipe, ReceiverClient& client,
                                             const RunFolder& folder, const RecipeRun& run);

}  // namespace qc2c
