// Trains a language model from scratch on the forward code that serves it.
#pragma once

#include "absl/status/status.h"
#include "common/model/model.h"
#include "experiments/train/recipe.h"

namespace qc2c {

// Reads config.json in recipe.model, trains, and writes model.safetensors (fp16) there. Continues
// from the checkpoint in recipe.training.state if there is one.
absl::Status TrainLm(const LmRecipe& recipe);

// Fills the parameters: matrices normal with recipe.init_std (the two that write into the residual
// stream divided by sqrt(2 x layers)), norms 1, biases 0, and the matching heads of
// LmRecipe::match_scale. Draws from the default generator.
void InitializeWeights(Model& model, const LmRecipe& recipe);

}  // namespace qc2c
