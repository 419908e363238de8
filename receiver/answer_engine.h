// Answers questions in batches: the receiver's half of the way of one question.
//
// A batch goes through the stages together: the sharers are asked for every cache (or text) of the
// batch at once and work while the receiver prefills; then caches are decoded, fused and answered
// from. A question that fails, or whose caller went away, leaves the batch without disturbing the
// others.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/fuser/several_sharers.h"
#include "common/obs/qc2c_metrics.h"
#include "common/serving/batch_queue.h"
#include "common/serving/job.h"
#include "common/serving/language_model.h"
#include "qc2c/v1/receiver.pb.h"
#include "receiver/connected_sharer.h"
#include "receiver/token_pairing.h"

namespace qc2c {

// A sharer's part in a question.
struct AskedSharer {
  const ConnectedSharer* sharer = nullptr;
  SharerReading reading;  // FUSED, PREFIX: what it reads
};

struct AnswerJob {
  v1::AnswerRequest request;
  // Submit fills these.
  std::vector<int32_t> ids;                      // of request.prompt: the receiver's own tokens
  ReceiverReading reading;                       // FUSED: where they stand, and when they are fused
  std::vector<std::vector<int32_t>> option_ids;  // of request.options; LOGITS: the first token only
  std::vector<AskedSharer> asked;                // in the receiver's order; one unless FUSED
  FusionOrder order = FusionOrder::kSequential;  // of the sharers' caches
  uint64_t tokenize_us = 0;
  // May be empty. Polled before sharers are asked, while they are waited for and at each token; not
  // after `finish`.
  std::function<bool()> cancelled;
  std::function<void(std::string)> stream;  // pieces of text; empty: none wanted
  std::function<void(absl::StatusOr<v1::AnswerReply>)> finish;  // exactly once, on a worker thread
  Clock::time_point arrived = Clock::now();

  int64_t num_tokens() const { return static_cast<int64_t>(ids.size()); }
  // FUSED: of token `token` of ids.
  uint32_t PositionOf(int64_t token) const {
    return static_cast<uint32_t>(reading.positions.empty() ? token : reading.positions[token]);
  }
};

// What an answer is made of. All outlive the engine.
struct AnswerParts {
  const LanguageModel& language_model;
  const std::vector<ConnectedSharer>& sharers;  // at least one
  Qc2cMetrics& metrics;
  FusionOrder order = FusionOrder::kSequential;  // of requests that do not say
};

// Thread-safe.
class AnswerEngine {
 public:
  // `num_workers` batches are under way at a time: while one waits for the sharer, another
  // computes.
  AnswerEngine(const AnswerParts& parts, const BatchLimits& limits, int num_workers);
  ~AnswerEngine();  // StopAdmitting, then finishes what waits

  // Checks and tokenizes the request, then queues it. INVALID_ARGUMENT naming the field,
  // FAILED_PRECONDITION for a mode that this pair cannot do, RESOURCE_EXHAUSTED or UNAVAILABLE;
  // then job.finish is not called.
  absl::Status Submit(AnswerJob job);
  // Refuses new jobs with UNAVAILABLE; those that wait are still worked on.
  void StopAdmitting() { queue_.Close(); }

 private:
  // Fills job.asked but for the readings, and job.order.
  absl::Status ChooseSharers(AnswerJob& job) const;
  absl::Status Tokenize(AnswerJob& job) const;
  // Each fills job.ids and the readings.
  absl::Status TokenizeFused(AnswerJob& job, int64_t num_new_tokens) const;
  absl::Status TokenizePrefixed(AnswerJob& job, int64_t num_new_tokens) const;
  // What the pairing with `sharer` asks of the receiver: job.reading, which all sharers must share.
  static absl::Status TakeReading(const ConnectedSharer& sharer, ReceiverReading reading,
                                  AnswerJob& job);
  void Work();

  const AnswerParts parts_;
  BatchQueue<AnswerJob> queue_;
  std::vector<std::jthread> workers_;
};

}  // namespace qc2c
