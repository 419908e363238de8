// Greedy text in batches: a model speaking for itself.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/serving/batch_queue.h"
#include "common/serving/job.h"
#include "common/serving/language_model.h"

namespace qc2c {

struct GeneratedText {
  std::string text;  // special tokens skipped
  int64_t num_prompt_tokens = 0;
  int64_t num_generated_tokens = 0;
  uint64_t queue_us = 0;
  uint64_t generate_us = 0;  // prefill and decoding of the batch
};

struct GenerateJob {
  std::vector<int32_t> ids;  // the prompt, at least one token
  int32_t max_new_tokens = 1;
  std::function<bool()> cancelled;                            // polled at every step
  std::function<void(absl::StatusOr<GeneratedText>)> finish;  // exactly once, on the worker thread
  Clock::time_point arrived = Clock::now();

  int64_t num_tokens() const { return static_cast<int64_t>(ids.size()) + max_new_tokens; }
};

// Thread-safe. The language model must outlive it.
class TextGenerator {
 public:
  TextGenerator(const LanguageModel& language_model, const BatchLimits& limits);
  ~TextGenerator();  // StopAdmitting, then finishes what waits

  // RESOURCE_EXHAUSTED or UNAVAILABLE (then job.finish is not called).
  absl::Status Submit(GenerateJob job);
  // Refuses new jobs with UNAVAILABLE; those that wait are still worked on.
  void StopAdmitting() { queue_.Close(); }

 private:
  void Work();
  // One for each job; an error of the batch, or of one of them.
  absl::StatusOr<std::vector<absl::StatusOr<GeneratedText>>> Generate(
      const std::vector<GenerateJob>& batch) const;

  const LanguageModel& language_model_;
  BatchQueue<GenerateJob> queue_;
  std::jthread worker_;
};

}  // namespace qc2c
