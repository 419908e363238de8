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
#include "receiver/cache_assembly.h"
#include "receiver/prefix.h"

namespace qc2c {
namespace {

// Takes the jobs of MODE_PREFIX out of `jobs`: their order of stages is another.
std::vector<AnswerJob> TakePrefixed(std::vector<AnswerJob>& jobs) {
  const auto prefixed = std::stable_partition(jobs.begin(), jobs.end(), [](const AnswerJob& job) {
    return job.request.mode() != v1::MODE_PREFIX;
  });
  std::vector<AnswerJob> taken(std::make_move_iterator(prefixed),
                               std::make_move_iterator(jobs.end()));
  jobs.erase(prefixed, jobs.end());
  return taken;
}

KvLayerSet AllLayers(const KvLayout& layout) {
  std::vector<int32_t> layers(layout.num_layers);
  std::iota(layers.begin(), layers.end(), 0);
  return KvLayerSet::Both(std::move(layers));
}

}  // namespace

AnswerEngine::AnswerEngine(const AnswerParts& parts, const BatchLimits& limits, int num_workers)
    : parts_(parts),
      fused_layers_(parts.fuser == nullptr ? KvLayerSet() : LayersRead(*parts.fuser)),
      all_layers_(AllLayers(parts.language_model.model.config().Layout())),
      queue_("answer", limits) {
  for (int i = 0; i < num_workers; ++i) workers_.emplace_back([this] { Work(); });
}

AnswerEngine::~AnswerEngine() {
  StopAdmitting();
  workers_.clear();  // joins
}

absl::Status AnswerEngine::Submit(AnswerJob job) {
  RETURN_IF_ERROR(CheckAnswerRequest(job.request));
  const Clock::time_point start = Clock::now();
  RETURN_IF_ERROR(Tokenize(job));
  job.tokenize_us = MicrosecondsSince(start);
  parts_.metrics.ObserveStage(Stage::kTokenize, job.tokenize_us);
  RETURN_IF_ERROR(queue_.Push(std::move(job)));
  parts_.metrics.queue_length.Set(static_cast<double>(queue_.size()));
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
  if (parts_.fuser == nullptr) {
    return absl::FailedPreconditionError(
        "mode is MODE_FUSED: this receiver was started without --fuser");
  }
  const v1::AnswerRequest& request = job.request;
  const LanguageModel& language_model = parts_.language_model;
  ASSIGN_OR_RETURN(job.ids, language_model.Tokenize(request.prompt(), num_new_tokens));
  switch (request.control()) {
    case v1::CONTROL_ZERO_CACHE:
      job.reading.slots.assign(job.ids.size() - 1, 0);
      return absl::OkStatus();
    case v1::CONTROL_WRONG_QUESTION: {
      ASSIGN_OR_RETURN(const std::vector<int32_t> other,
                       language_model.Tokenize(request.control_prompt(), 0));
      ASSIGN_OR_RETURN(job.reading, parts_.pairing.Pair(request.control_prompt(), other,
                                                        request.control_context()));
      job.reading.slots = PairFromTheEnd(job.reading.slots, job.ids.size() - 1);
      return absl::OkStatus();
    }
    default: {
      ASSIGN_OR_RETURN(job.reading,
                       parts_.pairing.Pair(request.prompt(), job.ids, request.sharer_context()));
      return absl::OkStatus();
    }
  }
}

absl::Status AnswerEngine::TokenizePrefixed(AnswerJob& job, int64_t num_new_tokens) const {
  const v1::AnswerRequest& request = job.request;
  const LanguageModel& language_model = parts_.language_model;
  RETURN_IF_ERROR(CheckSameModel(language_model.Card(), parts_.sharer.card()));
  const bool is_wrong_question = request.control() == v1::CONTROL_WRONG_QUESTION;
  ASSIGN_OR_RETURN(
      PrefixedPrompt prefixed,
      SplitAtContext(language_model,
                     is_wrong_question ? request.control_context() : request.sharer_context(),
                     request.prompt(), num_new_tokens));
  job.ids = std::move(prefixed.prompt_ids);
  job.reading.slots.resize(prefixed.context_ids.size());
  std::iota(job.reading.slots.begin(), job.reading.slots.end(), 0);
  job.reading.ids = std::move(prefixed.context_ids);
  return absl::OkStatus();
}

void AnswerEngine::Work() {
  const at::NoGradGuard no_grad;
  while (true) {
    std::vector<AnswerJob> jobs = queue_.PopBatch();
    if (jobs.empty()) return;
    parts_.metrics.queue_length.Set(static_cast<double>(queue_.size()));
    parts_.metrics.batch_size.Observe(static_cast<double>(jobs.size()));
    for (const AnswerJob& job : jobs) {
      parts_.metrics.ObserveStage(Stage::kQueue, MicrosecondsSince(job.arrived));
    }
    std::vector<AnswerJob> prefixed = TakePrefixed(jobs);
    if (!jobs.empty()) AnswerBatch(parts_, fused_layers_, std::move(jobs)).Run();
    if (!prefixed.empty()) AnswerBatch(parts_, all_layers_, std::move(prefixed)).RunPrefixed();
  }
}

}  // namespace qc2c
