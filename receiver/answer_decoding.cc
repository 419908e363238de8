// The last stage of a batch: from a cache to text or to scored options.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/model/decoding.h"
#include "common/text/tokenizer.h"
#include "receiver/answer_batch.h"

namespace qc2c {
namespace {

TokenBatch LastParts(const std::vector<AnswerState*>& questions, at::Device device) {
  std::vector<TokenRange> ranges;
  for (const AnswerState* question : questions) ranges.push_back(question->LastPart());
  return PromptTokens(questions, ranges, device);
}

bool Cancelled(const AnswerState& question) {
  return question.job.cancelled && question.job.cancelled();
}

// A cache may hold what no computation survives: its checksum says that it arrived, not that it is
// sound.
absl::Status CheckFinite(const std::vector<double>& scores) {
  for (size_t i = 0; i < scores.size(); ++i) {
    if (std::isfinite(scores[i])) continue;
    return absl::InternalError(absl::StrCat("the log-probability of options[", i, "] is ",
                                            scores[i], ": expected a finite number"));
  }
  return absl::OkStatus();
}

// LOGITS looks at an option's first token alone, LOGLIKELIHOOD at the mean over all of its tokens.
int BestOption(const v1::AnswerReply& reply) {
  int best = -1;
  double best_mean = -std::numeric_limits<double>::infinity();
  for (int i = 0; i < reply.option_scores_size(); ++i) {
    const v1::OptionScore& score = reply.option_scores(i);
    const double mean = score.log_probability() / score.num_tokens();
    if (mean > best_mean) {
      best = i;
      best_mean = mean;
    }
  }
  return best;
}

}  // namespace

void AnswerBatch::Answer() {
  std::vector<AnswerState*> generated, scored;
  std::vector<int64_t> generated_rows, scored_rows;
  for (size_t row = 0; row < rows_.size(); ++row) {
    const bool text = rows_[row]->request().method() == v1::ANSWER_METHOD_GENERATE;
    (text ? generated : scored).push_back(rows_[row]);
    (text ? generated_rows : scored_rows).push_back(static_cast<int64_t>(row));
  }
  if (!generated.empty()) {
    Generate(generated, scored.empty() ? cache_ : SelectRows(cache_, generated_rows));
  }
  if (!scored.empty()) {
    ScoreOptions(scored, generated.empty() ? cache_ : SelectRows(cache_, scored_rows));
  }
}

void AnswerBatch::Generate(const std::vector<AnswerState*>& questions, const KvCache& cache) {
  const Clock::time_point start = Clock::now();
  const LanguageModel& language_model = parts_.language_model;
  GreedyOptions options{.eos_ids = language_model.model.config().eos_ids};
  std::vector<StreamDecoder> streams;
  for (const AnswerState* question : questions) {
    options.max_new_tokens.push_back(static_cast<int32_t>(question->request().max_new_tokens()));
    streams.emplace_back(language_model.tokenizer);
  }
  options.on_token = [&](int64_t row, int32_t id) {
    const AnswerState& question = *questions[row];
    if (Cancelled(question)) return GreedyOptions::Step::kStop;
    if (question.job.stream) {
      absl::StatusOr<std::string> piece = streams[row].Push(id);
      if (piece.ok() && !piece->empty()) question.job.stream(*std::move(piece));
    }
    return GreedyOptions::Step::kContinue;
  };
  const absl::StatusOr<std::vector<Generation>> generations =
      DecodeGreedily(language_model.model,
                     LastParts(questions, language_model.model.options().device), &cache, options);
  const uint64_t generate_us = MicrosecondsSince(start);
  parts_.metrics.ObserveStage(Stage::kGenerate, generate_us);
  for (size_t i = 0; i < questions.size(); ++i) {
    AnswerState& question = *questions[i];
    if (!generations.ok()) {
      Fail(question, generations.status());
      continue;
    }
    if (Cancelled(question)) {
      Fail(question, absl::CancelledError("the caller went away"));
      continue;
    }
    if ((*generations)[i].end == Generation::End::kNotFinite) {
      Fail(question,
           absl::InternalError(absl::StrCat("the logits after ", (*generations)[i].ids.size(),
                                            " tokens are not finite: expected finite numbers")));
      continue;
    }
    const std::vector<int32_t>& ids = (*generations)[i].ids;
    absl::StatusOr<std::string> text = language_model.tokenizer.Decode(ids);
    if (!text.ok()) {
      Fail(question, text.status());
      continue;
    }
    question.reply.set_text(*std::move(text));
    question.reply.set_num_input_tokens(question.job.ids.size());
    question.reply.set_num_generated_tokens(ids.size());
    question.reply.mutable_times()->set_generate_us(generate_us);
    Succeed(question);
  }
}

void AnswerBatch::ScoreOptions(const std::vector<AnswerState*>& questions, const KvCache& cache) {
  const Clock::time_point start = Clock::now();
  const LanguageModel& language_model = parts_.language_model;
  std::vector<std::vector<std::vector<int32_t>>> options;
  for (const AnswerState* question : questions) options.push_back(question->job.option_ids);
  const absl::StatusOr<std::vector<std::vector<double>>> scores = OptionLogProbabilities(
      language_model.model, LastParts(questions, language_model.model.options().device), &cache,
      options);
  const uint64_t generate_us = MicrosecondsSince(start);
  parts_.metrics.ObserveStage(Stage::kGenerate, generate_us);
  for (size_t i = 0; i < questions.size(); ++i) {
    AnswerState& question = *questions[i];
    const absl::Status status = scores.ok() ? CheckFinite((*scores)[i]) : scores.status();
    if (!status.ok()) {
      Fail(question, status);
      continue;
    }
    for (size_t option = 0; option < options[i].size(); ++option) {
      v1::OptionScore& score = *question.reply.add_option_scores();
      score.set_log_probability((*scores)[i][option]);
      score.set_num_tokens(options[i][option].size());
    }
    question.reply.set_option(BestOption(question.reply));
    question.reply.set_text(question.request().options(question.reply.option()));
    question.reply.set_num_input_tokens(question.job.ids.size());
    question.reply.mutable_times()->set_generate_us(generate_us);
    Succeed(question);
  }
}

}  // namespace qc2c
