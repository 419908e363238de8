// The tensors of a model: which there are, where they lie, and how they come from files.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/model/model.h"
#include "common/model/model_config.h"
#include "common/model/safetensors.h"

namespace qc2c {

// Matrices that multiply the same input, one below the other in memory. Each part is a tensor of
// its own (a parameter, with its own gradient) that shares the storage of `whole`, so inference
// needs one product where training differentiates through the parts.
struct StackedWeights {
  at::Tensor whole;               // [sum of rows, C] or [sum of rows]; undefined if there is none
  std::vector<at::Tensor> parts;  // in order
};

struct LayerWeights {
  at::Tensor input_norm;         // [C]
  StackedWeights qkv;            // [(Hq + 2 H) D, C]
  StackedWeights qkv_bias;       // [(Hq + 2 H) D], or undefined
  at::Tensor q_norm;             // [D], or undefined
  at::Tensor k_norm;             // [D], or undefined
  at::Tensor output;             // [C, Hq D]
  at::Tensor output_norm;        // [C], behind attention; undefined unless the block is a sandwich
  at::Tensor feed_forward_norm;  // [C]
  StackedWeights gate_up;        // [2 I, C]
  at::Tensor down;               // [C, I]
  at::Tensor down_norm;          // [C], behind feed-forward; undefined unless it is a sandwich
};

struct ModelWeights {
  at::Tensor embedding;  // [V, C]
  std::vector<LayerWeights> layers;
  at::Tensor final_norm;  // [C]
  at::Tensor lm_head;     // [V, C]; the embedding itself if tied
  NamedTensors named;     // all parameters under their Hugging Face names
};

// Allocated, not initialised. REQUIRES: config.Validate() is OK. Throws what torch throws.
ModelWeights AllocateWeights(const ModelConfig& config, const ModelOptions& options);

// model.safetensors, or the shards that model.safetensors.index.json lists. NOT_FOUND if neither
// is there; INVALID_ARGUMENT for an index that is malformed or names a path outside the folder.
absl::StatusOr<std::vector<std::filesystem::path>> WeightFiles(const std::filesystem::path& folder);

// Checks headers, names and shapes of all files, and only then allocates and copies from the memory
// maps to the device, a file at a time. No map outlives the call.
absl::StatusOr<ModelWeights> LoadWeights(const std::vector<std::filesystem::path>& files,
                                         const ModelConfig& config, const ModelOptions& options);

}  // namespace qc2c
