#include "receiver/answer_engine.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "receiver/answer_batch.h"
#include "receiver/answer_request.h"
#include "receiver/cache_assembly.h"

namespace qc2c {

AnswerEngine::AnswerEngine(const AnswerParts& parts, const BatchLimits& limits, int num_workers)
    : parts_(parts), layers_(LayersRead(parts.fuser)), queue_("answer", limits) {
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
  ASSIGN_OR_RETURN(job.ids, parts_.language_model.Tokenize(job.request.prompt(), num_new_tokens));
  if (job.ids.size() < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("the prompt has ", job.ids.size(), " token: expected at least 2"));
  }
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
    AnswerBatch(parts_, layers_, std::move(jobs)).Run();
  }
}

}  // namespace qc2c
