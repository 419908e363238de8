#include "receiver/answer_batch.h"

#include <algorithm>
#include <utility>

#include "receiver/received_bytes.h"

namespace qc2c {
namespace {

std::vector<std::vector<int32_t>> AllButLast(const std::vector<AnswerState*>& rows) {
  std::vector<std::vector<int32_t>> ids;
  for (const AnswerState* question : rows) {
    ids.emplace_back(question->job.ids.begin(), question->job.ids.end() - 1);
  }
  return ids;
}

void AddShare(const CacheShare& share, v1::AnswerReply& reply) {
  if (share.source == CacheShare::Source::kNone) return;
  const v1::StageTimes& own = share.got.times();
  v1::StageTimes& times = *reply.mutable_times();
  times.set_sharer_prefill_us(std::max(times.sharer_prefill_us(), own.sharer_prefill_us()));
  times.set_encode_us(std::max(times.encode_us(), own.encode_us()));
  times.set_transfer_us(std::max(times.transfer_us(), own.transfer_us()));
  times.set_decode_cache_us(times.decode_cache_us() + own.decode_cache_us());
  if (share.source != CacheShare::Source::kSharer) return;
  AddByteCounts(share.got.bytes(), *reply.mutable_bytes());
  reply.set_num_kept_tokens(reply.num_kept_tokens() + share.got.num_kept_tokens());
  *reply.add_from_sharers() = share.got;
}

}  // namespace

AnswerBatch::AnswerBatch(const AnswerParts& parts, std::vector<AnswerJob> jobs) : parts_(parts) {
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
  if (questions_.front()->request().mode() == v1::MODE_PREFIX) return RunPrefixed();
  AskSharers();
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
  std::vector<SharerCache> caches;
  caches.reserve(parts_.sharers.size());  // sources point into it
  std::vector<FusionSource> sources;
  for (const ConnectedSharer& sharer : parts_.sharers) {
    std::optional<SharerCache> cache = GatherCaches(sharer);
    if (!cache) continue;
    caches.push_back(*std::move(cache));
    sources.push_back({sharer.fuser(), &caches.back()});
  }
  if (sources.empty()) return;
  const Clock::time_point start = Clock::now();
  absl::StatusOr<KvCache> fused = FuseAll(sources, cache_, questions_.front()->job.order);
  const uint64_t fuse_us = MicrosecondsSince(start);
  parts_.metrics.ObserveStage(Stage::kFuse, fuse_us);
  for (size_t row = 0; row < rows_.size(); ++row) {
    AnswerState& question = *rows_[row];
    if (!question.has_cache() || !question.open()) continue;
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
  for (const CacheShare& share : question.shares) AddShare(share, question.reply);
  question.reply.mutable_times()->set_total_us(MicrosecondsSince(question.job.arrived));
  question.job.finish(std::move(question.reply));
}

}  // namespace qc2c
