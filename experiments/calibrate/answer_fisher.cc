#include "experiments/calibrate/answer_fisher.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/status_macros.h"
#include "common/model/torch_status.h"

namespace qc2c {
namespace {

constexpr double kLeastProbability = 1e-4;   // of an answer that counts
constexpr double kNegligibleFisher = 1e-12;  // eigenvalues below this share of the largest

SharerCache AtSlots(const CalibrationCache& shared, const std::vector<int32_t>& slots,
                    const KvLayerSet& layers, int32_t num_layers) {
  std::vector<int64_t> sources;
  for (const int32_t slot : slots) sources.push_back(std::max(slot, 0));
  const at::Device device = shared.keys.device();
  const at::Tensor index = at::tensor(sources, at::kLong).to(device);
  SharerCache cache;
  cache.selected = at::tensor(slots, at::kInt).ge(0).unsqueeze(0).to(device);
  for (const Half half : {Half::kKey, Half::kValue}) {
    std::vector<at::Tensor>& tensors = half == Half::kKey ? cache.keys : cache.values;
    tensors.resize(num_layers);
    const std::vector<int32_t>& own = layers.Of(half);
    for (size_t i = 0; i < own.size(); ++i) {
      const at::Tensor tensor = shared.Of(half).select(1, static_cast<int64_t>(i));  // [T, H, D]
      tensors[own[i]] = tensor.index_select(0, index).transpose(0, 1).unsqueeze(0);
    }
  }
  return cache;
}

absl::StatusOr<AnswerGradients> GradientsOf(const Model& receiver, const Fuser& fuser,
                                            const KvLayerSet& layers, const KeyRotation& rotation,
                                            const CalibrationPrompt& prompt,
                                            const CalibrationCache& cache) {
  const auto leaf = [](const at::Tensor& x) {
    return x.to(at::kFloat).detach().clone().requires_grad_();
  };
  const CalibrationCache leaves{leaf(cache.keys), leaf(cache.values)};
  ASSIGN_OR_RETURN(const at::Tensor log_p,
                   AnswerLogProbabilities(receiver, fuser, layers, prompt, leaves));
  const auto [likeliest, answers] = log_p.detach().topk(kAnswersTaken);
  std::array<std::vector<at::Tensor>, 2> rows;
  for (int64_t i = 0; i < kAnswersTaken; ++i) {
    if (likeliest[i].item<double>() < std::log(kLeastProbability)) break;
    log_p[answers[i].item<int64_t>()].backward({}, /*retain_graph=*/true, /*create_graph=*/false,
                                               at::TensorList{leaves.keys, leaves.values});
    const double weight = std::exp(likeliest[i].item<double>() / 2);
    for (const Half half : {Half::kKey, Half::kValue}) {
      at::Tensor& grad = leaves.Of(half).mutable_grad();
      if (!grad.defined()) grad = at::zeros_like(leaves.Of(half));  // a half without tensors
      // Undoing the rotation is its transpose too.
      const at::Tensor plain = half == Half::kKey
                                   ? WithoutRotation(grad, prompt.positions, layers.keys, rotation)
                                   : grad;
      rows[static_cast<size_t>(half)].push_back(plain.flatten(1) * weight);
      grad.reset();
    }
  }
  return AnswerGradients{{at::stack(rows[0]), at::stack(rows[1])}};
}

FuserMetric FactorOf(const at::Tensor& gram) {
  const auto [weights, directions] = EigenOf((gram + gram.t()) / 2);
  const at::Tensor rows = (weights > weights.max() * kNegligibleFisher).nonzero().squeeze(1);
  return {
      {weights.index_select(0, rows).sqrt().unsqueeze(1) * directions.index_select(1, rows).t()}};
}

// B^T B of a block-diagonal metric.
at::Tensor GramOf(const FuserMetric& metric) {
  int64_t width = 0;
  for (const at::Tensor& factor : metric.factors) width += factor.size(1);
  at::Tensor gram = at::zeros({width, width}, metric.factors.front().options());
  int64_t begin = 0;
  for (const at::Tensor& factor : metric.factors) {
    const int64_t own = factor.size(1);
    gram.narrow(0, begin, own).narrow(1, begin, own).copy_(factor.t().matmul(factor));
    begin += own;
  }
  return gram;
}

}  // namespace

absl::StatusOr<at::Tensor> AnswerLogProbabilities(const Model& receiver, const Fuser& fuser,
                                                  const KvLayerSet& layers,
                                                  const CalibrationPrompt& prompt,
                                                  const CalibrationCache& cache) {
  const at::Device device = receiver.options().device;
  const std::vector<int32_t>& ids = prompt.receiver_ids;
  KvCache own;
  {
    const at::NoGradGuard no_grad;
    const std::vector<std::vector<int32_t>> read = {{ids.begin(), ids.end() - 1}};
    ASSIGN_OR_RETURN(ForwardResult run,
                     receiver.Forward(TokenBatch::FromSequences(read, device), nullptr));
    own = std::move(run.cache);
  }
  const SharerCache shared = AtSlots(cache, prompt.slots, layers, fuser.config().sharer.num_layers);
  ASSIGN_OR_RETURN(const KvCache fused, fuser.Fuse(shared, own));
  const TokenBatch last = TokenBatch::FromSequences({{ids.back()}}, device);
  ASSIGN_OR_RETURN(const ForwardResult run, receiver.Forward(last, &fused));
  return receiver.Logits(LastHidden(run.hidden, last.lengths)).to(at::kFloat).log_softmax(-1)[0];
}

absl::StatusOr<std::vector<AnswerGradients>> GradientsOfAnswers(
    const Model& receiver, const Fuser& fuser, const KvLayerSet& layers,
    const KeyRotation& rotation, const std::vector<CalibrationPrompt>& prompts,
    const std::vector<CalibrationCache>& caches, const std::function<void()>& on_prompt) {
  return CatchTorch([&]() -> absl::StatusOr<std::vector<AnswerGradients>> {
    std::vector<AnswerGradients> gradients;
    for (size_t i = 0; i < prompts.size(); ++i) {
      ASSIGN_OR_RETURN(AnswerGradients own,
                       GradientsOf(receiver, fuser, layers, rotation, prompts[i], caches[i]));
      gradients.push_back(std::move(own));
      on_prompt();
    }
    return gradients;
  });
}

FuserMetric FisherMetric(const at::Tensor& rows, int64_t n, const FuserMetric& other,
                         double ridge) {
  if (other.factors.empty()) return other;
  const at::Tensor wide = rows.to(at::kDouble);
  const at::Tensor fisher = wide.t().matmul(wide) / static_cast<double>(n);
  const at::Tensor gram = GramOf(other);
  return FactorOf(fisher + gram * (fisher.trace() / gram.trace() * ridge));
}

FuserMetric SparseFisherMetric(const at::Tensor& rows, int64_t n) {
  return {{rows.to(at::kDouble) / std::sqrt(static_cast<double>(n))}};
}

}  // namespace qc2c
