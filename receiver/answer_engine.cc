#include "receiver/answer_engine.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "receiver/answer_batch.h"
#include "receiver/answer_request.h"
#include "receiver/prefix.h"

namespace qc2c {
namespace {

bool IsPrefixed(const AnswerJob& job) { return job.request.mode() == v1::MODE_PREFIX; }

// Takes the jobs that go through the same stages in the same way as the first out of `jobs`.
std::vector<AnswerJob> TakeAlike(std::vector<AnswerJob>& jobs) {
  const bool is_prefixed = IsPrefixed(jobs.front());
  const FusionOrder order = jobs.front().order;
  const auto alike = std::stable_partition(jobs.begin(), jobs.end(), [&](const AnswerJob& job) {
    return IsPrefixed(job) != is_prefixed || job.order != order;
  });
  std::vector<AnswerJob> taken(std::make_move_iterator(alike), std::make_move_iterator(jobs.end()));
  jobs.erase(alike, jobs.end());
  return taken;
}

}  // namespace

AnswerEngine::AnswerEngine(const AnswerParts& parts, const BatchLimits& limits, int num_workers)
    : parts_(parts), queue_("answer", limits, [this](size_t size) {
        parts_.metrics.queue_length.Set(static_cast<double>(size));
      }) {
  for (int i = 0; i < num_workers; ++i) workers_.emplace_back([this] { Work(); });
}

AnswerEngine::~AnswerEngine() {
  StopAdmitting();
  workers_.clear();  // joins
}

absl::Status AnswerEngine::Submit(AnswerJob job) {
  RETURN_IF_ERROR(CheckAnswerRequest(job.request));
  const Clock::time_point start = Clock::now();
  RETURN_IF_ERROR(ChooseSharers(job));
  RETURN_IF_ERROR(Tokenize(job));
  job.tokenize_us = MicrosecondsSince(start);
  parts_.metrics.ObserveStage(Stage::kTokenize, job.tokenize_us);
  return queue_.Push(std::move(job));
}

absl::Status AnswerEngine::ChooseSharers(AnswerJob& job) const {
  const v1::AnswerRequest& request = job.request;
  job.order = parts_.order;
  if (request.combine() != v1::COMBINE_UNSPECIFIED) {
    job.order = request.combine() == v1::COMBINE_SEQUENTIAL ? FusionOrder::kSequential
                                                            : FusionOrder::kParallel;
  }
  for (const uint32_t index : request.sharers()) {
    if (index >= parts_.sharers.size()) {
      return absl::InvalidArgumentError(absl::StrCat("sharers has ", index, ": this receiver has ",
                                                     parts_.sharers.size(), " of them"));
    }
    job.asked.push_back({.sharer = &parts_.sharers[index], .reading = {}});
  }
  if (!job.asked.empty() || request.mode() == v1::MODE_RECEIVER) return absl::OkStatus();
  const size_t num_asked = request.mode() == v1::MODE_FUSED ? parts_.sharers.size() : 1;
  for (size_t i = 0; i < num_asked; ++i) {
    job.asked.push_back({.sharer = &parts_.sharers[i], .reading = {}});
  }
  return absl::OkStatus();
}

absl::Status AnswerEngine::Tokenize(AnswerJob& job) const {
  int64_t num_new_tokens = NumNewTokens(job.request);
  for (int i = 0; i < job.request.options_size(); ++i) {
    ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                     parts_.language_model.tokenizer.Encode(job.request.options(i)));
    if (ids.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("options[", i, "] has no tokens"));
    }
    if (job.request.method() == v1::ANSWER_METHOD_LOGITS) ids.erase(ids.begin() + 1, ids.end());
    num_new_tokens = std::max(num_new_tokens, static_cast<int64_t>(ids.size()));
    job.option_ids.push_back(std::move(ids));
  }
  switch (job.request.mode()) {
    case v1::MODE_FUSED:
      RETURN_IF_ERROR(TokenizeFused(job, num_new_tokens));
      break;
    case v1::MODE_PREFIX:
      RETURN_IF_ERROR(TokenizePrefixed(job, num_new_tokens));
      break;
    default:
      ASSIGN_OR_RETURN(job.ids,
                       parts_.language_model.Tokenize(job.request.prompt(), num_new_tokens));
  }
  if (job.ids.size() < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("the prompt has ", job.ids.size(), " token: expected at least 2"));
  }
  return absl::OkStatus();
}

absl::Status AnswerEngine::TokenizeFused(AnswerJob& job, int64_t num_new_tokens) const {
  const v1::AnswerRequest& request = job.request;
  const LanguageModel& language_model = parts_.language_model;
  ASSIGN_OR_RETURN(job.ids, language_model.Tokenize(request.prompt(), num_new_tokens));
  std::vector<int32_t> other_ids;
  if (request.control() == v1::CONTROL_WRONG_QUESTION) {
    ASSIGN_OR_RETURN(other_ids, language_model.Tokenize(request.control_prompt(), 0));
  }
  for (AskedSharer& asked : job.asked) {
    const ConnectedSharer& sharer = *asked.sharer;
    if (sharer.fuser() == nullptr) {
      return sharer.Named(absl::FailedPreconditionError(
          "mode is MODE_FUSED: this receiver was started without --fuser"));
    }
    const bool is_control = request.control() != v1::CONTROL_NONE;
    absl::StatusOr<PairedPrompt> own = sharer.pairing().Pair(
        request.prompt(), job.ids, is_control ? std::string() : request.sharer_context());
    if (!own.ok()) return sharer.Named(own.status());
    RETURN_IF_ERROR(TakeReading(sharer, std::move(own->receiver), job));
    asked.reading = std::move(own->sharer);
    if (request.control() == v1::CONTROL_ZERO_CACHE) {
      for (int32_t& slot : asked.reading.slots) slot = std::min(slot, 0);
    } else if (request.control() == v1::CONTROL_WRONG_QUESTION) {
      absl::StatusOr<PairedPrompt> other =
          sharer.pairing().Pair(request.control_prompt(), other_ids, request.control_context());
      if (!other.ok()) return sharer.Named(other.status());
      other->sharer.slots = PairFromTheEnd(other->sharer.slots, asked.reading.slots);
      asked.reading = std::move(other->sharer);
    }
  }
  const std::vector<uint32_t>& positions = job.reading.positions;
  if (positions.empty()) return absl::OkStatus();
  return language_model.CheckLength(int64_t{positions.back()} + 1, num_new_tokens);
}

absl::Status AnswerEngine::TakeReading(const ConnectedSharer& sharer, ReceiverReading reading,
                                       AnswerJob& job) {
  const ConnectedSharer& first = *job.asked.front().sharer;
  if (&sharer == &first) {
    job.reading = std::move(reading);
    return absl::OkStatus();
  }
  if (job.reading == reading) return absl::OkStatus();
  return sharer.Named(absl::FailedPreconditionError(
      absl::StrCat("alignment ", std::string(AlignmentStrategyName(sharer.pairing().strategy())),
                   " has the receiver read this prompt otherwise than alignment ",
                   std::string(AlignmentStrategyName(first.pairing().strategy())), " of sharer ",
                   first.link().address(), ": expected sharers to name one of them")));
}

absl::Status AnswerEngine::TokenizePrefixed(AnswerJob& job, int64_t num_new_tokens) const {
  const v1::AnswerRequest& request = job.request;
  const LanguageModel& language_model = parts_.language_model;
  SharerReading& reading = job.asked.front().reading;
  RETURN_IF_ERROR(CheckSameModel(language_model.Card(), job.asked.front().sharer->card()));
  const bool is_wrong_question = request.control() == v1::CONTROL_WRONG_QUESTION;
  ASSIGN_OR_RETURN(
      PrefixedPrompt prefixed,
      SplitAtContext(language_model,
                     is_wrong_question ? request.control_context() : request.sharer_context(),
                     request.prompt(), num_new_tokens));
  job.ids = std::move(prefixed.prompt_ids);
  reading.slots.resize(prefixed.context_ids.size());
  std::iota(reading.slots.begin(), reading.slots.end(), 0);
  reading.ids = std::move(prefixed.context_ids);
  return absl::OkStatus();
}

void AnswerEngine::Work() {
  const at::NoGradGuard no_grad;
  while (true) {
    std::vector<AnswerJob> jobs = queue_.PopBatch();
    if (jobs.empty()) return;
    parts_.metrics.batch_size.Observe(static_cast<double>(jobs.size()));
    for (const AnswerJob& job : jobs) {
      parts_.metrics.ObserveStage(Stage::kQueue, MicrosecondsSince(job.arrived));
    }
    while (!jobs.empty()) AnswerBatch(parts_, TakeAlike(jobs)).Run();
  }
}

}  // namespace qc2c
