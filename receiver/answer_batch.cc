#include "receiver/answer_batch.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <utility>

namespace qc2c {
namespace {

std::vector<std::vector<int32_t>> AllButLast(const std::vector<AnswerState*>& rows) {
  std::vector<std::vector<int32_t>> ids;
  for (const AnswerState* question : rows) {
    ids.emplace_back(question->job.ids.begin(), question->job.ids.end() - 1);
  }
  return ids;
}

void AddDecodeTime(AnswerState& question, Clock::time_point start) {
  v1::StageTimes& times = *question.reply.mutable_times();
  times.set_decode_cache_us(times.decode_cache_us() + MicrosecondsSince(start));
}

}  // namespace

AnswerBatch::AnswerBatch(const AnswerParts& parts, const KvLayerSet& layers,
                         std::vector<AnswerJob> jobs)
    : parts_(parts), layers_(layers) {
  for (AnswerJob& job : jobs) {
    auto question = std::make_unique<AnswerState>();
    question->job = std::move(job);
    question->reply.set_question_id(question->request().question_id());
    question->reply.set_option(-1);
    question->reply.mutable_times()->set_queue_us(
        MicrosecondsBetween(question->job.arrived, start_));
    question->reply.mutable_times()->set_tokenize_us(question->job.tokenize_us);
    questions_.push_back(std::move(question));
  }
}

void AnswerBatch::Run() {
  AskSharer();
  TakeTexts();
  GatherRows();
  Prefill();
  TakeCaches();
  Fuse();
  Answer();
}

void AnswerBatch::GatherRows() {
  for (auto& question : questions_) {
    if (question->open()) rows_.push_back(question.get());
  }
}

void AnswerBatch::Prefill() {
  if (rows_.empty()) return;
  const Clock::time_point start = Clock::now();
  const TokenBatch tokens =
      TokenBatch::FromSequences(AllButLast(rows_), parts_.language_model.model.options().device);
  absl::StatusOr<ForwardResult> result =
      parts_.language_model.model.Forward(tokens, cache_.valid.defined() ? &cache_ : nullptr);
  const uint64_t prefill_us = MicrosecondsSince(start);
  parts_.metrics.ObserveStage(Stage::kReceiverPrefill, prefill_us);
  for (AnswerState* question : rows_) {
    question->reply.mutable_times()->set_receiver_prefill_us(prefill_us);
    if (!result.ok()) Fail(*question, result.status());
  }
  if (result.ok()) cache_ = std::move(result->cache);
  if (!result.ok()) rows_.clear();
}

void AnswerBatch::Fuse() {
  int64_t num_slots = 0;
  for (const AnswerState* question : rows_) {
    if (question->cache_source == AnswerState::Source::kNone) continue;
    num_slots = std::max(num_slots, question->num_fused_tokens());
  }
  if (num_slots == 0) return;
  SharerCacheBuilder builder(parts_.fuser->config().sharer, layers_,
                             static_cast<int64_t>(rows_.size()), num_slots,
                             parts_.language_model.model.options());
  PlaceCaches(builder);
  const Clock::time_point start = Clock::now();
  absl::StatusOr<KvCache> fused = parts_.fuser->Fuse(builder.Build(), cache_);
  const uint64_t fuse_us = MicrosecondsSince(start);
  parts_.metrics.ObserveStage(Stage::kFuse, fuse_us);
  for (size_t row = 0; row < rows_.size(); ++row) {
    AnswerState& question = *rows_[row];
    if (question.cache_source == AnswerState::Source::kNone || !question.open()) continue;
    question.reply.mutable_times()->set_fuse_us(fuse_us);
    if (!fused.ok()) {
      Fail(question, fused.status());
    } else if (!RowChanged(cache_, *fused, static_cast<int64_t>(row))) {
      Fail(question, absl::InternalError("fusion left the receiver's cache as it was"));
    }
  }
  if (fused.ok()) cache_ = *std::move(fused);
  DropEndedRows();
}

void AnswerBatch::PlaceCaches(SharerCacheBuilder& builder) {
  DecodeCalibrated(builder);
  for (size_t row = 0; row < rows_.size(); ++row) {
    PlaceCache(*rows_[row], static_cast<int64_t>(row), builder);
  }
}

void AnswerBatch::DecodeCalibrated(const SharerCacheBuilder& builder) {
  std::vector<AnswerState*> calibrated;
  for (AnswerState* question : rows_) {
    if (question->frame && question->frame->codec.klt) calibrated.push_back(question);
  }
  const auto decode = [&](AnswerState& question) {
    const Clock::time_point start = Clock::now();
    question.decoded = builder.Decode(*question.frame, SharerContext(question));
    AddDecodeTime(question, start);
  };
  at::parallel_for(0, static_cast<int64_t>(calibrated.size()), /*grain_size=*/1,
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) decode(*calibrated[i]);
                   });
}

void AnswerBatch::PlaceCache(AnswerState& question, int64_t row, SharerCacheBuilder& builder) {
  const Clock::time_point start = Clock::now();
  const std::vector<int32_t>& slots = question.job.reading.slots;
  absl::Status status;
  if (question.cache_source == AnswerState::Source::kZeros) {
    builder.SetZeroRow(row, static_cast<int64_t>(slots.size()));
  } else if (question.decoded) {
    status = question.decoded->status();
    if (status.ok()) status = builder.PlaceRow(row, *question.frame, **question.decoded, slots);
    question.decoded.reset();
  } else if (question.frame) {
    status = builder.SetRow(row, *question.frame, slots, SharerContext(question));
  }
  if (!status.ok()) Fail(question, status);
  AddDecodeTime(question, start);
  parts_.metrics.ObserveStage(Stage::kDecodeCache, question.reply.times().decode_cache_us());
}

CodecContext AnswerBatch::SharerContext(const AnswerState& question) const {
  return {.facts = &parts_.sharer.facts(), .token_positions = question.job.reading.tokens};
}

void AnswerBatch::DropEndedRows() {
  std::vector<int64_t> kept;
  std::vector<AnswerState*> rows;
  for (size_t row = 0; row < rows_.size(); ++row) {
    if (!rows_[row]->open()) continue;
    kept.push_back(static_cast<int64_t>(row));
    rows.push_back(rows_[row]);
  }
  if (rows.size() == rows_.size()) return;
  if (!rows.empty() && cache_.valid.defined()) cache_ = SelectRows(cache_, kept);
  rows_ = std::move(rows);
}

void AnswerBatch::Fail(AnswerState& question, const absl::Status& status) {
  question.state = AnswerState::State::kEnded;
  question.job.finish(status);
}

void AnswerBatch::Succeed(AnswerState& question) {
  question.state = AnswerState::State::kEnded;
  question.reply.set_final(true);
  question.reply.mutable_times()->set_total_us(MicrosecondsSince(question.job.arrived));
  question.job.finish(std::move(question.reply));
}

}  // namespace qc2c
