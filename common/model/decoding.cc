#include "common/model/decoding.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/torch_status.h"

namespace qc2c {
namespace {

std::vector<int64_t> ToHost(const at::Tensor& tensor) {
  const at::Tensor host = tensor.to(at::kCPU, at::kLong).contiguous();
  return {host.data_ptr<int64_t>(), host.data_ptr<int64_t>() + host.numel()};
}

// How many tokens each row may produce: the caller's limit, cut at the model's context. The last
// token that a row produces is not run, so it needs no position.
absl::StatusOr<std::vector<int64_t>> TokenLimits(const Model& model, const KvCache& cache,
                                                 const GreedyOptions& options) {
  const std::vector<int64_t> lengths = ToHost(cache.lengths);
  if (options.max_new_tokens.size() != lengths.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_new_tokens has ", options.max_new_tokens.size(),
                     " entries: expected one for each of ", lengths.size(), " rows"));
  }
  std::vector<int64_t> limits(lengths.size());
  for (size_t row = 0; row < lengths.size(); ++row) {
    if (options.max_new_tokens[row] < 1) {
      return absl::InvalidArgumentError(absl::StrCat("max_new_tokens of row ", row, " is ",
                                                     options.max_new_tokens[row],
                                                     ": expected at least 1"));
    }
    limits[row] = std::min<int64_t>(options.max_new_tokens[row],
                                    model.config().max_positions - lengths[row] + 1);
  }
  return limits;
}

constexpr int64_t kNoId = -1;

// The chosen `ids` [B] on the host, kNoId where the logits [B, V] choose none. One transfer.
std::vector<int64_t> Chosen(const at::Tensor& logits, const at::Tensor& ids) {
  const at::Tensor largest = logits.gather(-1, ids.unsqueeze(-1)).squeeze(-1);
  return ToHost(at::where(at::isfinite(largest), ids, kNoId));
}

// The rows of one DecodeGreedily call, and which of them still run.
class Rows {
 public:
  Rows(const GreedyOptions& options, std::vector<int64_t> limits)
      : options_(options),
        limits_(std::move(limits)),
        results_(limits_.size()),
        is_running_(limits_.size(), 1) {}

  // Takes one new id a row; those of rows that have ended are ignored.
  void Take(const std::vector<int64_t>& ids) {
    for (size_t row = 0; row < ids.size(); ++row) {
      if (is_running_[row]) TakeOne(row, static_cast<int32_t>(ids[row]));
    }
  }

  bool AnyRuns() const {
    return std::any_of(is_running_.begin(), is_running_.end(), [](int64_t runs) { return runs; });
  }

  // The next step's batch: a row that has ended has length 0.
  TokenBatch Next(const at::Tensor& ids) const {
    return {ids.unsqueeze(1), at::tensor(is_running_, at::kLong).to(ids.device())};
  }

  std::vector<Generation> TakeResults() { return std::move(results_); }

 private:
  void TakeOne(size_t row, int32_t id) {
    if (id == kNoId) return End(row, Generation::End::kNotFinite);
    Generation& result = results_[row];
    const bool is_stopped = options_.on_token && options_.on_token(static_cast<int64_t>(row), id) ==
                                                     GreedyOptions::Step::kStop;
    const bool is_eos =
        std::find(options_.eos_ids.begin(), options_.eos_ids.end(), id) != options_.eos_ids.end();
    if (!is_eos) result.ids.push_back(id);
    if (is_eos) {
      End(row, Generation::End::kEos);
    } else if (is_stopped) {
      End(row, Generation::End::kStopped);
    } else if (static_cast<int64_t>(result.ids.size()) >= limits_[row]) {
      End(row, Generation::End::kLength);
    }
  }

  void End(size_t row, Generation::End end) {
    results_[row].end = end;
    is_running_[row] = 0;
  }

  const GreedyOptions& options_;
  std::vector<int64_t> limits_;
  std::vector<Generation> results_;
  std::vector<int64_t> is_running_;  // 0 or 1: the length of the row's next step
};

using Options = std::vector<std::vector<std::vector<int32_t>>>;

absl::Status CheckOptionIds(const Options& options, int64_t batch, const ModelConfig& config) {
  if (static_cast<int64_t>(options.size()) != batch) {
    return absl::InvalidArgumentError(
        absl::StrCat("options has ", options.size(), " rows: expected ", batch));
  }
  for (size_t row = 0; row < options.size(); ++row) {
    for (size_t option = 0; option < options[row].size(); ++option) {
      RETURN_IF_ERROR(CheckSequence(absl::StrCat("row ", row, ", option ", option),
                                    options[row][option], config));
    }
  }
  return absl::OkStatus();
}

// log p of `ids` [N, T] under hidden states [N, T, C] -> [N, T] fp32.
at::Tensor LogProbabilities(const Model& model, const at::Tensor& hidden, const at::Tensor& ids) {
  return at::log_softmax(model.Logits(hidden).to(at::kFloat), -1)
      .gather(-1, ids.unsqueeze(-1))
      .squeeze(-1);
}

// An option's place in the nested lists.
struct Place {
  int64_t row;
  int64_t option;
};

using Scores = std::vector<std::vector<double>>;

// Adds the first id of every option, which the prompt's last hidden state [B, C] predicts.
void AddFirstIds(const Model& model, const at::Tensor& last, const Options& options,
                 Scores& scores) {
  std::vector<int64_t> rows;
  std::vector<int64_t> ids;
  for (size_t row = 0; row < options.size(); ++row) {
    for (const auto& option : options[row]) {
      rows.push_back(static_cast<int64_t>(row));
      ids.push_back(option.front());
    }
  }
  if (ids.empty()) return;
  const at::Tensor table = at::log_softmax(model.Logits(last).to(at::kFloat), -1);
  const at::Tensor found = table
                               .index({at::tensor(rows, at::kLong).to(last.device()),
                                       at::tensor(ids, at::kLong).to(last.device())})
                               .to(at::kCPU, at::kDouble)
                               .contiguous();
  const double* next = found.data_ptr<double>();
  for (auto& row : scores) {
    for (double& score : row) score += *next++;
  }
}

// Runs the ids of the longer options on copies of their rows and adds what follows the first id.
absl::Status AddLaterIds(const Model& model, const KvCache& cache, const Options& options,
                         Scores& scores) {
  std::vector<Place> places;
  std::vector<int64_t> rows;
  std::vector<std::vector<int32_t>> inputs;
  std::vector<std::vector<int32_t>> targets;
  for (size_t row = 0; row < options.size(); ++row) {
    for (size_t option = 0; option < options[row].size(); ++option) {
      const std::vector<int32_t>& ids = options[row][option];
      if (ids.size() < 2) continue;
      places.push_back({static_cast<int64_t>(row), static_cast<int64_t>(option)});
      rows.push_back(static_cast<int64_t>(row));
      inputs.emplace_back(ids.begin(), ids.end() - 1);
      targets.emplace_back(ids.begin() + 1, ids.end());
    }
  }
  if (places.empty()) return absl::OkStatus();
  const at::Device device = model.options().device;
  const KvCache past = SelectRows(cache, rows);
  const TokenBatch batch = TokenBatch::FromSequences(inputs, device);
  ASSIGN_OR_RETURN(const ForwardResult result, model.Forward(batch, &past));
  const at::Tensor found =
      LogProbabilities(model, result.hidden, TokenBatch::FromSequences(targets, device).ids)
          .to(at::kCPU, at::kDouble)
          .contiguous();
  for (size_t i = 0; i < places.size(); ++i) {
    const double* values = found[static_cast<int64_t>(i)].data_ptr<double>();
    double& score = scores[places[i].row][places[i].option];
    for (size_t t = 0; t < targets[i].size(); ++t) score += values[t];
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<Generation>> DecodeGreedily(const Model& model, const TokenBatch& tokens,
                                                       const KvCache* past,
                                                       const GreedyOptions& options) {
  return CatchTorch([&]() -> absl::StatusOr<std::vector<Generation>> {
    const at::NoGradGuard no_grad;
    ASSIGN_OR_RETURN(ForwardResult result, model.Forward(tokens, past));
    ASSIGN_OR_RETURN(std::vector<int64_t> limits, TokenLimits(model, result.cache, options));
    Rows rows(options, std::move(limits));
    at::Tensor last = LastHidden(result.hidden, tokens.lengths);
    while (true) {
      const at::Tensor logits = model.Logits(last);
      const at::Tensor ids = logits.argmax(-1);
      rows.Take(Chosen(logits, ids));
      if (!rows.AnyRuns()) return rows.TakeResults();
      ASSIGN_OR_RETURN(ForwardResult next, model.Forward(rows.Next(ids), &result.cache));
      result = std::move(next);
      last = result.hidden.select(1, 0);
    }
  });
}

absl::StatusOr<std::vector<std::vector<double>>> OptionLogProbabilities(const Model& model,
                                                                        const TokenBatch& tokens,
                                                                        const KvCache* past,
                                                                        const Options& options) {
  return CatchTorch([&]() -> absl::StatusOr<Scores> {
    const at::NoGradGuard no_grad;
    RETURN_IF_ERROR(CheckOptionIds(options, tokens.batch_size(), model.config()));
    ASSIGN_OR_RETURN(const ForwardResult result, model.Forward(tokens, past));
    Scores scores;
    for (const auto& row : options) scores.emplace_back(row.size(), 0.0);
    AddFirstIds(model, LastHidden(result.hidden, tokens.lengths), options, scores);
    RETURN_IF_ERROR(AddLaterIds(model, result.cache, options, scores));
    return scores;
  });
}

}  // namespace qc2c
