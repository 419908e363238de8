// One batch of questions on its way through the stages.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/model/model.h"
#include "receiver/answer_engine.h"
#include "receiver/answer_state.h"

namespace qc2c {

// Used once, on one thread: Run, or for jobs of MODE_PREFIX RunPrefixed, finishes every job.
class AnswerBatch {
 public:
  // `layers` is what is asked of the sharer's caches; it outlives the batch. REQUIRES: all jobs are
  // of MODE_PREFIX, or none.
  AnswerBatch(const AnswerParts& parts, const KvLayerSet& layers, std::vector<AnswerJob> jobs);
  void Run();
  void RunPrefixed();

 private:
  // The stages, in this order. Each works on the questions that are still in the batch.
  void AskSharer();   // starts every Share and Generate of the batch
  void TakeTexts();   // waits for the texts; sharer-only questions end here
  void GatherRows();  // the questions that the receiver itself works on
  void Prefill();     // the receiver reads all prompt tokens but the last, on top of cache_
  void TakeCaches();  // waits for the caches and proves them right
  void Fuse();
  void Answer();  // the last prompt token on top of the cache, and what follows
  // RunPrefixed: makes the caches of the contexts the one that Prefill goes on from.
  void PlacePrefixes();

  void StartShare(AnswerState& question);
  // The codebook of a klt codec, which fits what is read; fills in an id that the codec leaves
  // open.
  absl::StatusOr<const KltCodebook*> ChooseCodebook(const SharerReading& reading,
                                                    CodecSpec& codec) const;
  void StartGenerate(AnswerState& question);
  void TakeText(AnswerState& question);
  // Puts the sharer's text into the prompt of MODE_TEXT and reads it anew.
  void SetHint(AnswerState& question, const std::string& hint);
  void TakeCache(AnswerState& question);
  // Decodes what the questions got into the rows of `builder`; nothing for a degraded one.
  void PlaceCaches(SharerCacheBuilder& builder);
  // The frames of klt, which are CPU work: a question a thread.
  void DecodeCalibrated(const SharerCacheBuilder& builder);
  void PlaceCache(AnswerState& question, int64_t row, SharerCacheBuilder& builder);
  CodecContext SharerContext(const AnswerState& question) const;
  void Generate(const std::vector<AnswerState*>& questions, const KvCache& cache);
  void ScoreOptions(const std::vector<AnswerState*>& questions, const KvCache& cache);

  void Fail(AnswerState& question, const absl::Status& status);
  // Without the sharer a question goes on alone if its caller allows that, and fails otherwise.
  void SharerFailed(AnswerState& question, const absl::Status& status);
  void Succeed(AnswerState& question);
  // Takes the questions that ended out of rows_ and cache_.
  void DropEndedRows();

  const AnswerParts& parts_;
  const Clock::time_point start_ = Clock::now();
  const KvLayerSet& layers_;  // that are asked for
  std::vector<std::unique_ptr<AnswerState>> questions_;
  std::vector<AnswerState*> rows_;  // the rows of cache_
  KvCache cache_;                   // without slots: nothing has been read yet
};

}  // namespace qc2c
