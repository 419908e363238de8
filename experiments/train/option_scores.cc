#include "experiments/train/option_scores.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "common/base/status_macros.h"

namespace qc2c {
namespace {

constexpr double kSharpness = 3.0;
constexpr double kLikelihoodWeight = 0.3;

// Every option of every document as a row of its own.
struct OptionRows {
  int64_t most_options = 0;                  // O
  std::vector<std::vector<int32_t>> inputs;  // the last prompt token, then all ids but the last
  std::vector<int64_t> documents;            // whose option it is: a row of the cache
  // One a predicted id:
  std::vector<int64_t> rows, steps;  // which hidden state predicts it
  std::vector<int64_t> targets;
  std::vector<int64_t> cells;  // of the flattened [B, O]
};

OptionRows CollectOptions(const DocumentBatch& batch) {
  OptionRows all;
  for (const Document* document : batch) {
    all.most_options = std::max(all.most_options, std::ssize(document->options));
  }
  for (int64_t index = 0; index < std::ssize(batch); ++index) {
    const Document& document = *batch[index];
    for (int64_t option = 0; option < std::ssize(document.options); ++option) {
      const std::vector<int32_t>& ids = document.options[option];
      for (int64_t step = 0; step < std::ssize(ids); ++step) {
        all.rows.push_back(std::ssize(all.inputs));
        all.steps.push_back(step);
        all.targets.push_back(ids[step]);
        all.cells.push_back(index * all.most_options + option);
      }
      all.documents.push_back(index);
      all.inputs.push_back({document.ids.back()});
      all.inputs.back().insert(all.inputs.back().end(), ids.begin(), ids.end() - 1);
    }
  }
  return all;
}

}  // namespace

absl::StatusOr<at::Tensor> OptionScores(const Model& model, const KvCache& cache,
                                        const DocumentBatch& batch) {
  const at::Device device = model.options().device;
  const auto longs = [device](const std::vector<int64_t>& values) {
    return at::tensor(values, at::kLong).to(device);
  };
  const OptionRows all = CollectOptions(batch);
  const TokenBatch tokens = TokenBatch::FromSequences(all.inputs, device);
  const KvCache past = SelectRows(cache, all.documents);
  ASSIGN_OR_RETURN(const ForwardResult run, model.Forward(tokens, &past));
  const at::Tensor hidden = run.hidden.index({longs(all.rows), longs(all.steps)});
  const at::Tensor log_p = at::log_softmax(model.Logits(hidden).to(at::kFloat), -1)
                               .gather(1, longs(all.targets).unsqueeze(1))
                               .squeeze(1);
  const at::Tensor cells = longs(all.cells);
  const int64_t num_cells = std::ssize(batch) * all.most_options;
  const at::Tensor sum = at::zeros({num_cells}, log_p.options()).index_add(0, cells, log_p);
  const at::Tensor count =
      at::zeros({num_cells}, log_p.options()).index_add(0, cells, at::ones_like(log_p));
  const at::Tensor mean =
      at::where(count > 0, sum / count.clamp_min(1), -std::numeric_limits<float>::infinity());
  return mean.view({std::ssize(batch), all.most_options});
}

at::Tensor OptionLoss(const at::Tensor& scores, const DocumentBatch& batch) {
  std::vector<int64_t> answers;
  for (const Document* document : batch) answers.push_back(document->answer);
  const at::Tensor right = at::tensor(answers, at::kLong).to(scores.device());
  const at::Tensor likelihood = scores.gather(1, right.unsqueeze(1)).mean();
  return at::cross_entropy_loss(kSharpness * scores, right) - kLikelihoodWeight * likelihood;
}

}  // namespace qc2c
