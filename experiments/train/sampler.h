// Which documents are in which batch: a pure function of the seed, the recipe and the step.
#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "experiments/train/documents.h"
#include "experiments/train/recipe.h"

namespace qc2c {

// Each kind's pool is shuffled, used up, and shuffled again. Not thread-safe. The pools must
// outlive it.
class BatchSampler {
 public:
  // kDocument draws a kind for each document of a batch, kBatch one for the whole batch.
  enum class MixBy { kDocument, kBatch };

  // INVALID_ARGUMENT naming the kind if a phase draws from a kind that has no documents.
  static absl::StatusOr<BatchSampler> Create(const DocumentPools& pools,
                                             const TrainingOptions& options, MixBy mix_by);

  // The batch of the next step; the first call is step 0. REQUIRES: fewer calls than TotalSteps().
  std::vector<const Document*> Next();

  // Continues at `step`, as after so many calls of Next.
  void SkipTo(int64_t step);

 private:
  struct Pool {
    const std::vector<Document>* documents;
    std::vector<int64_t> order;
    size_t next = 0;
  };

  BatchSampler(const TrainingOptions& options, MixBy mix_by);
  const std::string& DrawKind(const Phase& phase);
  const Document* Draw(Pool& pool);

  std::vector<Phase> phases_;
  int64_t batch_size_;
  MixBy mix_by_;
  std::mt19937_64 engine_;  // its raw output is the same everywhere; std distributions are not
  std::map<std::string, Pool> pools_;
  int64_t step_ = 0;
};

}  // namespace qc2c
