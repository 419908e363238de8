// Trains a fuser between two frozen models, on the code that serves it.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "experiments/train/objective.h"
#include "experiments/train/recipe.h"

namespace qc2c {

// Trains the projectors and writes the published checkpoint layout to recipe.fuser: config.json and
// final/, tensors in fp16. Continues from the checkpoint in recipe.training.state if there is one.
absl::Status TrainFuser(const FuserRecipe& recipe);

struct CheckRequest {
  std::filesystem::path receiver;
  std::filesystem::path sharer;  // may be empty: the receiver alone
  std::filesystem::path fuser;   // may be empty: each model alone
  std::filesystem::path documents;
  int threads = 1;
  std::string device = "cpu";
  at::ScalarType dtype = at::kFloat;  // of the models and the fuser
};

// By setting ("receiver", "sharer", "fused", "zero_cache"), the share of right answers by kind of
// document.
absl::StatusOr<std::map<std::string, Accuracy>> CheckModels(const CheckRequest& request);

}  // namespace qc2c
