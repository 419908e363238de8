#include "receiver/answer_batch.h"

#include <algorithm>
#include <utility>

#include "common/base/status_macros.h"
#include "common/model/torch_status.h"
#include "common/wire/byte_counts.h"

namespace qc2c {
namespace {

std::vector<TokenRange> PartsOf(const std::vector<AnswerState*>& rows, size_t part) {
  std::vector<TokenRange> ranges;
  for (const AnswerState* question : rows) ranges.push_back(question->FusedPart(part));
  return ranges;
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
  // What the stages call of the model and the fuser throws nothing; but they move tensors about
  // themselves, and memory may run out there.
  const absl::Status status = CatchTorch([this] {
    RunStages();
    return absl::OkStatus();
  });
  if (status.ok()) return;
  for (auto& question : questions_) Fail(*question, status);
}

void AnswerBatch::RunStages() {
  if (questions_.front()->request().mode() == v1::MODE_PREFIX) return RunPrefixed();
  AskSharers();
  TakeTexts();
  GatherRows();
  Prefill(0);
  TakeCaches();
  Fuse();
  Answer();
}

void AnswerBatch::GatherRows() {
  for (auto& question : questions_) {
    if (question->open()) rows_.push_back(question.get());
  }
}

void AnswerBatch::Prefill(size_t part) {
  if (rows_.empty()) return;
  const Clock::time_point start = Clock::now();
  const TokenBatch tokens =
      PromptTokens(rows_, PartsOf(rows_, part), parts_.language_model.model.options().device);
  absl::StatusOr<ForwardResult> result =
      parts_.language_model.model.Forward(tokens, cache_.valid.defined() ? &cache_ : nullptr);
  const uint64_t prefill_us = MicrosecondsSince(start);
  parts_.metrics.ObserveStage(Stage::kReceiverPrefill, prefill_us);
  for (AnswerState* question : rows_) {
    v1::StageTimes& times = *question->reply.mutable_times();
    times.set_receiver_prefill_us(times.receiver_prefill_us() + prefill_us);
    if (!result.ok()) Fail(*question, result.status());
  }
  if (result.ok()) cache_ = std::move(result->cache);
  if (!result.ok()) rows_.clear();
}

void AnswerBatch::Fuse() {
  std::vector<GatheredCache> gathered;
  for (const ConnectedSharer& sharer : parts_.sharers) {
    std::optional<SharerCache> cache = GatherCaches(sharer);
    if (cache) gathered.push_back({sharer.fuser(), *std::move(cache)});
  }
  size_t num_parts = 1;
  for (const AnswerState* question : rows_) {
    num_parts = std::max(num_parts, question->FusedEnds().size());
  }
  uint64_t fuse_us = 0;
  std::vector<int> is_changed(rows_.size(), 0);
  absl::Status fused;
  for (size_t part = 0; part < num_parts; ++part) {
    if (part > 0) Prefill(part);
    if (rows_.empty()) return;
    if (gathered.empty() || !fused.ok()) continue;
    const Clock::time_point start = Clock::now();
    fused = FusePart(part, gathered, is_changed);
    fuse_us += MicrosecondsSince(start);
  }
  if (gathered.empty()) return;
  parts_.metrics.ObserveStage(Stage::kFuse, fuse_us);
  for (size_t row = 0; row < rows_.size(); ++row) {
    AnswerState& question = *rows_[row];
    if (!question.has_cache() || !question.open()) continue;
    question.reply.mutable_times()->set_fuse_us(fuse_us);
    if (!fused.ok()) {
      Fail(question, fused);
    } else if (is_changed[row] == 0) {
      Fail(question, absl::InternalError("fusion left the receiver's cache as it was"));
    }
  }
  DropEndedRows();
}

absl::Status AnswerBatch::FusePart(size_t part, const std::vector<GatheredCache>& gathered,
                                   std::vector<int>& is_changed) {
  const std::vector<TokenRange> ranges = PartsOf(rows_, part);
  const auto longest = std::ranges::max_element(ranges, {}, &TokenRange::size);
  const int64_t begin = cache_.num_slots() - longest->size();
  const bool is_whole = std::ranges::all_of(
      rows_, [](const AnswerState* question) { return question->FusedEnds().size() == 1; });
  std::vector<SharerCache> caches;
  caches.reserve(gathered.size());  // sources point into it
  std::vector<FusionSource> sources;
  for (const GatheredCache& one : gathered) {
    if (!is_whole) caches.push_back(TokensOf(one.cache, ranges));
    sources.push_back({one.fuser, is_whole ? &one.cache : &caches.back()});
  }
  const KvCache own = begin == 0 ? cache_ : SlotsFrom(cache_, begin);
  ASSIGN_OR_RETURN(KvCache fused, FuseAll(sources, own, questions_.front()->job.order));
  for (size_t row = 0; row < rows_.size(); ++row) {
    if (RowChanged(own, fused, static_cast<int64_t>(row))) is_changed[row] = 1;
  }
  if (begin == 0) {
    cache_ = std::move(fused);
  } else {
    ReplaceSlotsFrom(begin, fused, cache_);
  }
  return absl::OkStatus();
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
  if (question.open()) End(question, status);
}

void AnswerBatch::Succeed(AnswerState& question) {
  question.reply.set_final(true);
  for (const CacheShare& share : question.shares) AddShare(share, question.reply);
  question.reply.mutable_times()->set_total_us(MicrosecondsSince(question.job.arrived));
  End(question, std::move(question.reply));
}

void AnswerBatch::End(AnswerState& question, absl::StatusOr<v1::AnswerReply> answer) {
  question.state = AnswerState::State::kEnded;
  question.job.cancelled = nullptr;  // the call that it asks is gone once it has its answer
  question.job.finish(std::move(answer));
}

}  // namespace qc2c
