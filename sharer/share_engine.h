// Prefills prompts in batches and encodes their caches: the sharer's half of the way of one
// question.
#pragma once

#include <cstdint>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/obs/qc2c_metrics.h"
#include "common/serving/batch_queue.h"
#include "common/serving/language_model.h"
#include "sharer/share_job.h"

namespace qc2c {

// Thread-safe. The language model and the metrics must outlive it.
class ShareEngine {
 public:
  // `calibrations` are of the model's own layout.
  ShareEngine(const LanguageModel& language_model, Qc2cMetrics& metrics, const BatchLimits& limits,
              std::vector<ChannelMeans> calibrations = {});
  ~ShareEngine();  // StopAdmitting, then finishes what waits

  // RESOURCE_EXHAUSTED or UNAVAILABLE (then job.finish is not called).
  absl::Status Submit(ShareJob job);
  const ModelFacts& facts() const { return facts_; }
  // Refuses new jobs with UNAVAILABLE; those that wait are still worked on.
  void StopAdmitting() { queue_.Close(); }

 private:
  void Work();
  void Share(std::vector<ShareJob> batch);
  // Finishes every job, unless memory runs out or torch throws in it.
  void ShareAll(std::vector<ShareJob>& batch);
  // Of a codec without a budget. `wanted`: the row's tokens that are asked for; `spent_us`: on
  // having them, and on finding the codec, which is encoding's time too.
  absl::StatusOr<SharedCache> Encode(const ShareJob& job, const ForwardResult& prefill, int64_t row,
                                     const KvCacheView& wanted, uint64_t spent_us);

  const LanguageModel& language_model_;
  const ModelFacts facts_;
  Qc2cMetrics& metrics_;
  BatchQueue<ShareJob> queue_;
  std::jthread worker_;
};

}  // namespace qc2c
