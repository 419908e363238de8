// What `qc2c train` is told: one YAML file a model or fuser (experiments/recipes/train_*.yaml).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "experiments/train/objective.h"

namespace qc2c {

// Which kinds of document a stretch of training draws from, by share.
struct Phase {
  int64_t steps = 0;
  std::map<std::string, double> mix;  // kind -> share, each > 0; they need not add up to 1
};

struct AdamWOptions {
  double lr = 0.0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double decay = 0.0;  // decoupled; on matrices only, never on norms, biases and gates
};

struct MuonOptions {
  double lr = 0.02;  // times sqrt(max(1, rows / columns))
  double momentum = 0.95;
  double decay = 0.0;  // decoupled
};

// The parts that both kinds of training share.
struct TrainingOptions {
  uint64_t seed = 0;  // decides the initial weights, the batches and the noise
  std::filesystem::path documents;
  std::filesystem::path check_documents;  // scored every check_every steps; may be empty
  std::filesystem::path state;            // folder of checkpoints and the loss log
  std::vector<Phase> phases;
  int64_t batch_size = 64;
  int64_t warmup_steps = 0;
  double final_lr_ratio = 0.0;  // the cosine ends at this share of the peak
  double clip = 1.0;            // of the global gradient norm
  AdamWOptions adamw;
  int64_t checkpoint_every = 500;
  int64_t check_every = 250;
  int64_t log_every = 10;
  int threads = 1;
  std::string device = "cpu";            // cpu or cuda
  std::function<bool()> stop_requested;  // asked after each step; may be empty

  int64_t TotalSteps() const;
};

struct LmRecipe {
  TrainingOptions training;
  std::filesystem::path model;  // has config.json; model.safetensors is written into it
  double init_std = 0.05;
  // Equal tokens attend to each other from the first step: in every layer the key projection of KV
  // head 0 starts as a copy of its first query head, which is first scaled by this factor.
  double match_scale = 1.0;
  MuonOptions muon;
};

struct FuserRecipe {
  TrainingOptions training;
  std::filesystem::path receiver;  // model folders, frozen
  std::filesystem::path sharer;
  std::filesystem::path fuser;  // written: config.json and final/
  std::string mapping = "last_aligned";
  // same_ids: both models read the documents' ids. span: every document has the sharer's own.
  std::string alignment = "same_ids";
  int32_t hidden_dim = 1024;
  int32_t intermediate_dim = 1024;
  int32_t num_blocks = 3;
  double initial_temperature = 1.0;  // of the gates, annealed exponentially over the run
  double final_temperature = 0.001;
  // Of both models and of the arithmetic. Below fp32 the weights of the fuser that are trained are
  // kept in fp32 beside the rounded ones that compute.
  at::ScalarType dtype = at::kFloat;
  at::ScalarType file_dtype = at::kHalf;  // of the tensors in the written files
  FuserTraining::Sharer sharer_cache = FuserTraining::Sharer::kPrompt;
  std::optional<CodecNoise> noise;
};

// INVALID_ARGUMENT naming file and field for a field that is unknown, missing, of the wrong type or
// out of range. Paths are taken as they stand, relative to the working directory.
absl::StatusOr<LmRecipe> ReadLmRecipe(const std::filesystem::path& path);
absl::StatusOr<FuserRecipe> ReadFuserRecipe(const std::filesystem::path& path);

}  // namespace qc2c
