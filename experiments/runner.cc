#include "experiments/runner.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"
#include "common/wire/byte_counts.h"
#include "experiments/point_summary.h"
#include "experiments/prediction.h"
#include "experiments/question_request.h"
#include "experiments/scoring.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;

constexpr absl::Duration kNoteInterval = absl::Seconds(5);  // between lines about the same trouble

// A point on a dataset, and what is known of it.
struct Cell {
  const Dataset* dataset = nullptr;
  const Point* point = nullptr;
  std::vector<Prediction> predictions;
  std::vector<FailedQuestion> failed;

  std::string name() const { return absl::StrCat(point->name, ".", dataset->name); }
  bool complete() const { return predictions.size() == dataset->questions.size(); }
};

Prediction MakePrediction(const Question& question, const Score& score, v1::AnswerMethod method,
                          const v1::AnswerReply& reply) {
  Prediction prediction;
  prediction.id = question.id;
  prediction.pred = score.prediction;
  prediction.gold = question.answer;
  prediction.correct = score.correct;
  for (const v1::OptionScore& option : reply.option_scores()) {
    const double num_tokens = method == v1::ANSWER_METHOD_LOGITS ? 1 : option.num_tokens();
    prediction.option_scores.push_back(option.log_probability() / num_tokens);
  }
  prediction.output = reply.text();
  prediction.input_tokens = reply.num_input_tokens();
  prediction.gen_tokens = reply.num_generated_tokens();
  prediction.kept_tokens = reply.num_kept_tokens();
  prediction.hint = reply.hint();
  prediction.codec_fallback = reply.codec_fallback();
  prediction.bytes = reply.bytes();
  prediction.times = reply.times();
  if (reply.from_sharers_size() > 1) {
    for (const v1::AnswerReply::FromSharer& from : reply.from_sharers()) {
      prediction.by_sharer.push_back({.sharer = from.sharer(),
                                      .bytes_tx = from.bytes().tx(),
                                      .kept_tokens = from.num_kept_tokens()});
    }
  }
  return prediction;
}

// Answers to questions that the dataset does not have would make a point look complete.
absl::Status CheckIds(const Cell& cell) {
  std::unordered_set<std::string> ids;
  for (const Question& question : cell.dataset->questions) ids.insert(question.id);
  for (const Prediction& prediction : cell.predictions) {
    if (!ids.contains(prediction.id)) {
      return absl::DataLossError(absl::StrCat("predictions of ", cell.name(), " answer \"",
                                              prediction.id, "\", which is not in its questions"));
    }
  }
  return absl::OkStatus();
}

class Runner {
 public:
  Runner(const Recipe& recipe, ReceiverClient& client, const RunFolder& folder,
         const AskOptions& options)
      : recipe_(recipe), client_(client), folder_(folder), options_(options) {}

  absl::StatusOr<RunOutcome> Run(FILE* progress_stream);

 private:
  absl::Status LoadCells();
  absl::Status RunCell(Cell& cell);
  absl::Status Record(Cell& cell, const Question& question, const v1::AnswerReply& reply,
                      PredictionLog& log);
  void ReportScores(const Cell& cell, uint64_t questions, uint64_t correct);
  absl::Status WriteResults() const;
  const Cell* ReferenceOf(const Cell& cell) const;

  const Recipe& recipe_;
  ReceiverClient& client_;
  const RunFolder& folder_;
  AskOptions options_;
  std::vector<Cell> cells_;
  std::unique_ptr<RunProgress> progress_;
  absl::Time last_answer_;
  uint64_t last_socket_bytes_ = 0;
  RunOutcome outcome_;
};

absl::Status Runner::LoadCells() {
  for (const Dataset& dataset : recipe_.datasets) {
    for (const Point& point : dataset.points) {
      Cell cell{&dataset, &point, {}, {}};
      ASSIGN_OR_RETURN(cell.predictions,
                       LoadPredictions(folder_.Predictions(point.name, dataset.name)));
      RETURN_IF_ERROR(CheckIds(cell));
      cells_.push_back(std::move(cell));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<RunOutcome> Runner::Run(FILE* progress_stream) {
  RETURN_IF_ERROR(LoadCells());
  uint64_t total = 0;
  uint64_t done = 0;
  for (const Cell& cell : cells_) {
    total += cell.dataset->questions.size();
    done += cell.predictions.size();
  }
  progress_ = std::make_unique<RunProgress>(total, done, progress_stream);
  if (done > 0) progress_->Note(absl::StrCat("continuing: ", done, " of ", total, " are answered"));
  absl::Time last_note = absl::InfinitePast();
  options_.on_trouble = [&](const std::string& text) {
    if (absl::Now() - last_note < kNoteInterval) return;
    last_note = absl::Now();
    progress_->Note(text);
  };
  for (Cell& cell : cells_) {
    const absl::Status status = cell.complete() ? absl::OkStatus() : RunCell(cell);
    RETURN_IF_ERROR(WriteResults());
    if (!status.ok()) progress_->Pause();
    RETURN_IF_ERROR(status);
    if (!cell.complete()) ++outcome_.num_incomplete;
  }
  progress_->Pause();
  return outcome_;
}

absl::Status Runner::RunCell(Cell& cell) {
  const Dataset& dataset = *cell.dataset;
  std::unordered_map<std::string, size_t> unanswered;
  for (size_t i = 0; i < dataset.questions.size(); ++i) unanswered[dataset.questions[i].id] = i;
  for (const Prediction& prediction : cell.predictions) unanswered.erase(prediction.id);
  std::vector<v1::AnswerRequest> requests;
  for (size_t i = 0; i < dataset.questions.size(); ++i) {
    if (!unanswered.contains(dataset.questions[i].id)) continue;
    requests.push_back(RequestFor(dataset, *cell.point, i));
  }
  ASSIGN_OR_RETURN(PredictionLog log,
                   PredictionLog::Open(folder_.Predictions(cell.point->name, dataset.name)));
  progress_->StartPoint(cell.name(), dataset.questions.size(), cell.predictions.size());
  const SessionTotals before = outcome_.session;
  last_answer_ = absl::Now();
  if (options_.socket_bytes) last_socket_bytes_ = options_.socket_bytes();
  absl::StatusOr<AskResult> result =
      client_.AnswerAll(requests, options_, [&](const v1::AnswerReply& reply) {
        const Question& question = dataset.questions[unanswered.at(reply.question_id())];
        return Record(cell, question, reply, log);
      });
  ReportScores(cell, outcome_.session.questions - before.questions,
               outcome_.session.correct - before.correct);
  RETURN_IF_ERROR(result.status());
  outcome_.session.asked_again += result->asked_again;
  cell.failed.insert(cell.failed.end(), result->failed.begin(), result->failed.end());
  outcome_.session.failed += cell.failed.size();
  if (!cell.complete()) {
    progress_->Note(absl::StrCat(cell.name(), ": incomplete, ", cell.failed.size(),
                                 " questions without an answer; ", cell.failed.front().id, ": ",
                                 cell.failed.front().status.ToString()));
  }
  return absl::OkStatus();
}

absl::Status Runner::Record(Cell& cell, const Question& question, const v1::AnswerReply& reply,
                            PredictionLog& log) {
  if (!reply.degraded().empty()) {
    // Answered without the sharer: a number about something else.
    cell.failed.push_back({question.id, absl::UnavailableError(absl::StrCat(
                                            "answered without the sharer: ", reply.degraded()))});
    return absl::OkStatus();
  }
  const AnswerFormat format = AnswerFormatOf(*cell.dataset, *cell.point);
  ASSIGN_OR_RETURN(const Score score, ScoreReply(question, format.method, format.extract, reply));
  Prediction prediction = MakePrediction(question, score, format.method, reply);
  const absl::Time now = absl::Now();
  prediction.wall_us = static_cast<uint64_t>(absl::ToInt64Microseconds(now - last_answer_));
  last_answer_ = now;
  if (options_.socket_bytes) {
    const uint64_t socket_bytes = options_.socket_bytes();
    prediction.socket_bytes = socket_bytes - last_socket_bytes_;
    last_socket_bytes_ = socket_bytes;
  }
  RETURN_IF_ERROR(log.Append(prediction));
  SessionTotals& session = outcome_.session;
  ++session.questions;
  session.correct += score.correct ? 1 : 0;
  AddByteCounts(reply.bytes(),
                SharesCache(cell.point->mode) ? session.cache_bytes : session.text_bytes);
  cell.predictions.push_back(std::move(prediction));
  progress_->Answered();
  return absl::OkStatus();
}

void Runner::ReportScores(const Cell& cell, uint64_t questions, uint64_t correct) {
  if (questions == 0) return;
  v1::ScoreReport report;
  v1::ScoreReport::Total* total = report.add_totals();
  total->set_dataset(cell.dataset->name);
  total->set_mode(ModeName(cell.point->mode));
  // The control is part of the label: its answers are not those of the codec.
  const std::string codec = cell.point->codec ? cell.point->codec->ToString() : "none";
  total->set_codec(cell.point->control == v1::CONTROL_NONE ? codec : cell.point->name);
  total->set_questions(questions);
  total->set_correct(correct);
  const absl::Status status = client_.ReportScores(report);
  if (!status.ok()) {
    progress_->Note(absl::StrCat("the receiver did not take the scores of ", cell.name(), ": ",
                                 status.ToString()));
  }
}

const Cell* Runner::ReferenceOf(const Cell& cell) const {
  for (const Cell& other : cells_) {
    if (other.dataset == cell.dataset && other.point->name == recipe_.versus &&
        other.point != cell.point && other.complete()) {
      return &other;
    }
  }
  return nullptr;
}

absl::Status Runner::WriteResults() const {
  std::vector<Json> points;
  std::vector<Json> incomplete;
  for (const Cell& cell : cells_) {
    if (cell.complete()) {
      const Cell* other = ReferenceOf(cell);
      std::optional<Reference> reference;
      if (other != nullptr) reference.emplace(Reference{recipe_.versus, other->predictions});
      points.push_back(SummarizePoint(*cell.point, cell.dataset->name, cell.predictions,
                                      reference ? &*reference : nullptr));
      continue;
    }
    Json skipped = Json::array();
    for (const FailedQuestion& failed : cell.failed) {
      skipped.push_back({{"id", failed.id}, {"reason", failed.status.ToString()}});
    }
    incomplete.push_back({{"point", cell.point->name},
                          {"dataset", cell.dataset->name},
                          {"n", cell.dataset->questions.size()},
                          {"answered", cell.predictions.size()},
                          {"skipped", skipped}});
  }
  RETURN_IF_ERROR(folder_.WriteResults("points", points));
  return folder_.WriteResults("incomplete", incomplete);
}

}  // namespace

absl::StatusOr<RunOutcome> RunRecipe(const Recipe& recipe, ReceiverClient& client,
                                     const RunFolder& folder, const AskOptions& options,
                                     FILE* progress_stream) {
  return Runner(recipe, client, folder, options).Run(progress_stream);
}

}  // namespace qc2c
