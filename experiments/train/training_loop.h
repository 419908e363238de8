// The loop that language models and fusers share: batches, steps, progress, log, checkpoints.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "experiments/train/documents.h"
#include "experiments/train/objective.h"
#include "experiments/train/optimizer.h"
#include "experiments/train/recipe.h"
#include "experiments/train/sampler.h"

namespace qc2c {

struct TrainingTask {
  std::string name;         // of the progress line
  NamedTensors parameters;  // trained; each requires a gradient
  std::vector<std::unique_ptr<Optimizer>> optimizers;
  BatchSampler::MixBy mix_by = BatchSampler::MixBy::kDocument;
  uint64_t fingerprint = 0;  // of everything that decides the weights
  std::function<absl::StatusOr<at::Tensor>(const DocumentBatch&, int64_t step)> loss;
  std::function<absl::StatusOr<Accuracy>(const DocumentPools&)> check;
};

// Runs all steps, or those that are left after the checkpoint in options.state. Writes two files
// there:
//   checkpoint.safetensors
//   log.jsonl, lines {"step", "loss", "grad_norm", "lr_scale", "seconds"} and
//              {"step", "check": {kind: accuracy}}
// A resumed run cuts the log back to its checkpoint. The random generator is seeded anew at each
// step, so on a CPU, with as many threads, a resumed run equals an uninterrupted one bit for bit;
// on a GPU gradients are added in an order of its own. CANCELLED, with a checkpoint written, once
// options.stop_requested says so.
absl::Status RunTraining(TrainingTask& task, const DocumentPools& documents,
                         const DocumentPools& check_documents, const TrainingOptions& options);

// Names what decides the result besides the code: the fields of `options` and the documents' bytes.
absl::StatusOr<uint64_t> Fingerprint(const TrainingOptions& options, const std::string& rest);

}  // namespace qc2c
