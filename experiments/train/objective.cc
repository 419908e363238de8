#include "experiments/train/objective.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <functional>

#include "common/base/status_macros.h"
#include "experiments/train/option_scores.h"

namespace qc2c {
namespace {

// Evaluation batches: large enough to keep the matrix products busy.
constexpr size_t kCheckBatch = 128;

// What is to be predicted where, for rows that run from some token on to the last but one.
struct Targets {
  std::vector<int64_t> positions;  // into the rows of [B, T], flattened
  std::vector<int64_t> ids;
  std::vector<float> weights;
};

// starts[b]: the first token of document b that is run. width: T.
Targets CollectTargets(const DocumentBatch& batch, const std::vector<int64_t>& starts,
                       int64_t width) {
  Targets targets;
  for (size_t row = 0; row < batch.size(); ++row) {
    const Document& document = *batch[row];
    for (int64_t i = starts[row] + 1; i < std::ssize(document.ids); ++i) {
      if (document.weights[i] == 0.0f) continue;
      targets.positions.push_back(static_cast<int64_t>(row) * width + i - 1 - starts[row]);
      targets.ids.push_back(document.ids[i]);
      targets.weights.push_back(document.weights[i]);
    }
  }
  return targets;
}

// hidden: [B, T, C].
at::Tensor WeightedCrossEntropy(const Model& model, const at::Tensor& hidden,
                                const Targets& targets) {
  const at::Device device = hidden.device();
  const at::Tensor positions = at::tensor(targets.positions, at::kLong).to(device);
  const at::Tensor ids = at::tensor(targets.ids, at::kLong).to(device);
  const at::Tensor weights = at::tensor(targets.weights, at::kFloat).to(device);
  const at::Tensor predicting = hidden.flatten(0, 1).index_select(0, positions);
  const at::Tensor loss =
      at::cross_entropy_loss(model.Logits(predicting).to(at::kFloat), ids, {}, at::Reduction::None);
  return (loss * weights).sum() / weights.sum();
}

// Tokens starts[b] .. of each document, all but the last: nothing is predicted from that one.
TokenBatch RunTokens(const DocumentBatch& batch, const std::vector<int64_t>& starts,
                     at::Device device) {
  std::vector<std::vector<int32_t>> rows;
  for (size_t row = 0; row < batch.size(); ++row) {
    rows.emplace_back(batch[row]->ids.begin() + starts[row], batch[row]->ids.end() - 1);
  }
  return TokenBatch::FromSequences(rows, device);
}

std::vector<int64_t> LastPromptTokens(const DocumentBatch& batch) {
  std::vector<int64_t> starts;
  for (const Document* document : batch) starts.push_back(document->prompt_length - 1);
  return starts;
}

TokenBatch FusedPrompts(const DocumentBatch& batch, at::Device device) {
  std::vector<std::vector<int32_t>> prompts;
  for (const Document* document : batch) prompts.push_back(document->FusedPrompt());
  return TokenBatch::FromSequences(prompts, device);
}

bool ReadsOwnTokens(const DocumentBatch& batch) {
  return std::any_of(batch.begin(), batch.end(),
                     [](const Document* document) { return !document->sharer_ids.empty(); });
}

// [B, T] the sharer token of each receiver slot; padding reads token 0, which is not selected.
at::Tensor SharerSlots(const DocumentBatch& batch, int64_t width, at::Device device) {
  at::Tensor slots = at::zeros({std::ssize(batch), width}, at::kLong);
  auto rows = slots.accessor<int64_t, 2>();
  for (size_t row = 0; row < batch.size(); ++row) {
    const Document& document = *batch[row];
    for (int64_t i = 0; i + 1 < document.prompt_length; ++i) {
      rows[static_cast<int64_t>(row)][i] =
          document.sharer_ids.empty() ? i : document.sharer_tokens[i];
    }
  }
  return slots.to(device);
}

// [B, H, S, D] at the sharer's tokens -> [B, H, T, D] at the receiver's slots.
at::Tensor AtSlots(const at::Tensor& x, const at::Tensor& slots) {
  return x.gather(
      2, slots.view({slots.size(0), 1, slots.size(1), 1}).expand({-1, x.size(1), -1, x.size(3)}));
}

// A cache of zeros in the layers that the fuser reads: what the control gets, whatever the prompts
// say.
SharerCache ZeroCache(const Model& sharer, const LayerMap& layer_map, const at::Tensor& selected) {
  const KvLayout layout = sharer.config().Layout();
  const at::Tensor zeros =
      at::zeros({selected.size(0), layout.num_kv_heads, selected.size(1), layout.head_dim},
                at::TensorOptions(sharer.options().device).dtype(sharer.options().dtype));
  SharerCache cache;
  cache.keys.resize(layout.num_layers);
  cache.values.resize(layout.num_layers);
  cache.selected = selected;
  for (const int32_t layer : SharerLayers(layer_map)) {
    cache.keys[layer] = cache.values[layer] = zeros;
  }
  return cache;
}

// The sharer's cache of the prompts at the slots of the receiver's `tokens`, in the layers that
// the fuser reads.
absl::StatusOr<SharerCache> SharePrompts(const Model& sharer, const LayerMap& layer_map,
                                         const DocumentBatch& batch, const TokenBatch& tokens,
                                         const at::Tensor& selected) {
  std::vector<std::vector<int32_t>> prompts;
  for (const Document* document : batch) {
    prompts.push_back(document->sharer_ids.empty() ? document->FusedPrompt()
                                                   : document->sharer_ids);
  }
  const bool own_tokens = ReadsOwnTokens(batch);
  const at::Device device = tokens.ids.device();
  const TokenBatch read = own_tokens ? TokenBatch::FromSequences(prompts, device) : tokens;
  ASSIGN_OR_RETURN(const ForwardResult run, sharer.Forward(read, nullptr));
  const int64_t width = tokens.ids.size(1);
  const at::Tensor slots = own_tokens ? SharerSlots(batch, width, device) : at::Tensor();
  SharerCache shared;
  shared.keys.resize(run.cache.keys.size());
  shared.values.resize(run.cache.values.size());
  shared.selected = selected;
  const auto place = [&](const at::Tensor& x) { return own_tokens ? AtSlots(x, slots) : x; };
  for (const int32_t layer : SharerLayers(layer_map)) {
    shared.keys[layer] = place(run.cache.keys[layer]);
    shared.values[layer] = place(run.cache.values[layer]);
  }
  return shared;
}

absl::StatusOr<KvCache> FusePrompts(const Model& receiver, const Model& sharer, const Fuser& fuser,
                                    const FuserTraining& training, const DocumentBatch& batch) {
  const TokenBatch tokens = FusedPrompts(batch, receiver.options().device);
  SharerCache shared;
  KvCache own;
  {
    const at::NoGradGuard no_grad;
    ASSIGN_OR_RETURN(ForwardResult run, receiver.Forward(tokens, nullptr));
    own = std::move(run.cache);
    const LayerMap& layer_map = fuser.config().layer_map;
    if (training.sharer == FuserTraining::Sharer::kZeroCache) {
      shared = ZeroCache(sharer, layer_map, own.valid);
    } else {
      ASSIGN_OR_RETURN(shared, SharePrompts(sharer, layer_map, batch, tokens, own.valid));
    }
    if (training.noise) AddCodecNoise(*training.noise, shared);
    if (training.change) RETURN_IF_ERROR(training.change(shared));
  }
  return fuser.Fuse(shared, own, training.options);
}

// The loss of the answers' tokens on top of the prompts' cache.
absl::StatusOr<at::Tensor> TailLoss(const Model& model, const KvCache& cache,
                                    const DocumentBatch& batch) {
  const std::vector<int64_t> starts = LastPromptTokens(batch);
  const TokenBatch tokens = RunTokens(batch, starts, model.options().device);
  ASSIGN_OR_RETURN(const ForwardResult run, model.Forward(tokens, &cache));
  return WeightedCrossEntropy(model, run.hidden, CollectTargets(batch, starts, tokens.ids.size(1)));
}

// Makes the cache of a batch's prompts but their last tokens.
using CacheOf = std::function<absl::StatusOr<KvCache>(const DocumentBatch&)>;

// Whether each document is answered right behind its cache: by the right option, or by a first
// token that is the argmax over the whole vocabulary.
absl::StatusOr<at::Tensor> RightAnswers(const Model& model, const KvCache& cache,
                                        const DocumentBatch& batch) {
  std::vector<int64_t> right;
  if (!batch.front()->options.empty()) {
    for (const Document* document : batch) right.push_back(document->answer);
    ASSIGN_OR_RETURN(const at::Tensor scores, OptionScores(model, cache, batch));
    return scores.argmax(-1).cpu().eq(at::tensor(right, at::kLong));
  }
  std::vector<std::vector<int32_t>> last;
  for (const Document* document : batch) {
    last.push_back({document->ids[document->prompt_length - 1]});
    right.push_back(document->ids[document->prompt_length]);
  }
  const TokenBatch tokens = TokenBatch::FromSequences(last, model.options().device);
  ASSIGN_OR_RETURN(const ForwardResult run, model.Forward(tokens, &cache));
  const at::Tensor logits = model.Logits(LastHidden(run.hidden, tokens.lengths));
  return logits.argmax(-1).cpu().eq(at::tensor(right, at::kLong));
}

absl::StatusOr<Accuracy> CheckAnswers(const Model& model, const DocumentPools& pools,
                                      const CacheOf& cache_of) {
  const at::NoGradGuard no_grad;
  Accuracy accuracy;
  for (const auto& [kind, documents] : pools) {
    int64_t correct = 0;
    for (size_t begin = 0; begin < documents.size(); begin += kCheckBatch) {
      DocumentBatch batch;
      for (size_t i = begin; i < std::min(begin + kCheckBatch, documents.size()); ++i) {
        batch.push_back(&documents[i]);
      }
      ASSIGN_OR_RETURN(const KvCache cache, cache_of(batch));
      ASSIGN_OR_RETURN(const at::Tensor right, RightAnswers(model, cache, batch));
      correct += right.sum().item<int64_t>();
    }
    accuracy[kind] = static_cast<double>(correct) / static_cast<double>(documents.size());
  }
  return accuracy;
}

}  // namespace

absl::StatusOr<at::Tensor> LanguageModelLoss(const Model& model, const DocumentBatch& batch) {
  const std::vector<int64_t> starts(batch.size(), 0);
  const TokenBatch tokens = RunTokens(batch, starts, model.options().device);
  ASSIGN_OR_RETURN(const ForwardResult run, model.Forward(tokens, nullptr));
  return WeightedCrossEntropy(model, run.hidden, CollectTargets(batch, starts, tokens.ids.size(1)));
}

absl::StatusOr<at::Tensor> FuserLoss(const Model& receiver, const Model& sharer, const Fuser& fuser,
                                     const FuserTraining& training, const DocumentBatch& batch) {
  ASSIGN_OR_RETURN(const KvCache cache, FusePrompts(receiver, sharer, fuser, training, batch));
  if (batch.front()->options.empty()) return TailLoss(receiver, cache, batch);
  ASSIGN_OR_RETURN(const at::Tensor scores, OptionScores(receiver, cache, batch));
  return OptionLoss(scores, batch);
}

absl::StatusOr<at::Tensor> AnswerLoss(const Model& receiver, const Model& sharer,
                                      const Fuser& fuser, const FuserTraining& training,
                                      const DocumentBatch& batch) {
  ASSIGN_OR_RETURN(const KvCache cache, FusePrompts(receiver, sharer, fuser, training, batch));
  if (batch.front()->options.empty()) return TailLoss(receiver, cache, batch);
  ASSIGN_OR_RETURN(const at::Tensor scores, OptionScores(receiver, cache, batch));
  std::vector<int64_t> answers;
  for (const Document* document : batch) answers.push_back(document->answer);
  const at::Tensor right = at::tensor(answers, at::kLong).to(scores.device());
  return -scores.gather(1, right.unsqueeze(1)).mean();
}

absl::StatusOr<Accuracy> CheckAlone(const Model& model, const DocumentPools& pools) {
  return CheckAnswers(model, pools, [&](const DocumentBatch& batch) -> absl::StatusOr<KvCache> {
    const TokenBatch tokens = FusedPrompts(batch, model.options().device);
    ASSIGN_OR_RETURN(ForwardResult run, model.Forward(tokens, nullptr));
    return std::move(run.cache);
  });
}

absl::StatusOr<Accuracy> CheckFused(const Model& receiver, const Model& sharer, const Fuser& fuser,
                                    FuserTraining::Sharer kind, const DocumentPools& pools) {
  const FuserTraining serving{.options = {}, .sharer = kind, .noise = {}};
  return CheckAnswers(receiver, pools, [&](const DocumentBatch& batch) {
    return FusePrompts(receiver, sharer, fuser, serving, batch);
  });
}

}  // namespace qc2c
