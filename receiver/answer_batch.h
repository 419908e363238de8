// One batch of questions on its way through the stages.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/model/model.h"
#include "receiver/answer_engine.h"
#include "receiver/answer_state.h"

namespace qc2c {

// Used once, on one thread: Run finishes every job.
class AnswerBatch {
 public:
  // REQUIRES: at least one job; all are of MODE_PREFIX, or none; all have one order.
  AnswerBatch(const AnswerParts& parts, std::vector<AnswerJob> jobs);
  void Run();

 private:
  void RunStages();
  void RunPrefixed();
  // The stages, in this order. Each works on the questions that are still in the batch.
  void AskSharers();          // starts every Share and Generate of the batch
  void TakeTexts();           // waits for the texts; sharer-only questions end here
  void GatherRows();          // the questions that the receiver itself works on
  void Prefill(size_t part);  // the receiver reads a fused part of the prompts on top of cache_
  void TakeCaches();          // waits for the caches and proves them right
  void Fuse();                // fuses the first part, then reads and fuses the others
  void Answer();              // the last part on top of the cache, and what follows
  // RunPrefixed: makes the caches of the contexts the one that Prefill goes on from.
  void PlacePrefixes();

  void StartShares(AnswerState& question);
  absl::Status StartShare(const v1::AnswerRequest& request, CacheShare& share) const;
  // FAILED_PRECONDITION unless what the codec's selection asks at the sharer is this receiver.
  absl::Status CheckHeldReceiver(const v1::AnswerRequest& request, const CacheShare& share) const;
  void StartGenerate(AnswerState& question);
  void TakeText(AnswerState& question);
  // Puts the sharer's text into the prompt of MODE_TEXT and reads it anew.
  void SetHint(AnswerState& question, const std::string& hint);
  void TakeCache(AnswerState& question, CacheShare& share);
  // Reads, proves and counts what came from one sharer.
  absl::Status ReadShare(const SharedMessages& shared, CacheShare& share) const;
  // What one sharer sent for all rows, and the fuser for it.
  struct GatheredCache {
    const Fuser* fuser;
    SharerCache cache;
  };
  // Fuses the part of the prompts that was read last. Rows that this changes get a 1.
  absl::Status FusePart(size_t part, const std::vector<GatheredCache>& gathered,
                        std::vector<int>& is_changed);
  // What the rows got of one sharer; nothing if that was nothing.
  std::optional<SharerCache> GatherCaches(const ConnectedSharer& sharer);
  // Decodes `shares`, one a row of rows_ (nullptr: it got none), into the rows of `builder`.
  void PlaceCaches(const std::vector<CacheShare*>& shares, SharerCacheBuilder& builder);
  // The frames of klt, which are CPU work: a question a thread.
  static void DecodeCalibrated(const std::vector<CacheShare*>& shares,
                               const SharerCacheBuilder& builder);
  void PlaceCache(AnswerState& question, CacheShare& share, int64_t row,
                  SharerCacheBuilder& builder);
  void Generate(const std::vector<AnswerState*>& questions, const KvCache& cache);
  void ScoreOptions(const std::vector<AnswerState*>& questions, const KvCache& cache);

  // Without effect on a question that has ended.
  void Fail(AnswerState& question, const absl::Status& status);
  // A sharer failed it: the question fails, unless its caller allows that it goes on with the
  // others, or alone. Whether it does.
  bool GoesOnWithout(AnswerState& question, const absl::Status& status);
  void Succeed(AnswerState& question);
  static void End(AnswerState& question, absl::StatusOr<v1::AnswerReply> answer);
  // Takes the questions that ended out of rows_ and cache_.
  void DropEndedRows();

  const AnswerParts& parts_;
  const Clock::time_point start_ = Clock::now();
  std::vector<std::unique_ptr<AnswerState>> questions_;
  std::vector<AnswerState*> rows_;  // the rows of cache_
  KvCache cache_;                   // without slots: nothing has been read yet
};

}  // namespace qc2c
