#include "experiments/calibrate/calibration_caches.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/torch_status.h"
#include "experiments/point.h"
#include "experiments/question_request.h"

namespace qc2c {
namespace {

constexpr size_t kMaxBatchTokens = 8192;

// Prompts of like length together, so that little is padding.
std::vector<std::vector<size_t>> Batches(const std::vector<CalibrationPrompt>& prompts) {
  std::vector<size_t> order(prompts.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, [&](size_t i) { return prompts[i].ids.size(); });
  std::vector<std::vector<size_t>> batches;
  for (const size_t i : order) {
    const bool fits =
        !batches.empty() && (batches.back().size() + 1) * prompts[i].ids.size() <= kMaxBatchTokens;
    if (!fits) batches.emplace_back();
    batches.back().push_back(i);
  }
  return batches;
}

at::Tensor TensorsOfRow(const std::vector<at::Tensor>& tensors, const std::vector<int32_t>& layers,
                        int64_t row, const at::Tensor& index) {
  if (layers.empty()) {
    const at::Tensor& any = tensors.front();  // [B, H, S, D]
    return at::empty({index.size(0), 0, any.size(1), any.size(3)}, any.options());
  }
  std::vector<at::Tensor> picked;
  for (const int32_t layer : layers) {
    picked.push_back(tensors[layer][row].index_select(1, index).transpose(0, 1));
  }
  return at::stack(picked, 1);
}

}  // namespace

absl::StatusOr<CalibrationPrompt> RenderPrompt(const Question& question, const PromptFormat& format,
                                               const LanguageModel& receiver,
                                               const TokenPairing& pairing) {
  ASSIGN_OR_RETURN(const Point point, PointFromName("bf16"));
  const v1::AnswerRequest request = MakeRequest(format, point, question, question);
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids, receiver.Tokenize(request.prompt(), 0));
  ASSIGN_OR_RETURN(PairedPrompt paired,
                   pairing.Pair(request.prompt(), ids, request.sharer_context()));
  if (paired.receiver != ReceiverReading() || !paired.sharer.positions.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("alignment ", std::string(AlignmentStrategyName(pairing.strategy())),
                     " fuses messages alone: a codebook is for prompts of which all is fused: "
                     "expected alignment span or same_ids"));
  }
  SharerReading& reading = paired.sharer;
  std::vector<uint32_t> indices = reading.WantedIndices();
  return CalibrationPrompt{std::move(reading.ids), std::move(indices), ids,
                           std::move(reading.slots)};
}

absl::StatusOr<std::vector<CalibrationCache>> PrefillPrompts(
    const Model& sharer, const std::vector<CalibrationPrompt>& prompts, const KvLayerSet& layers,
    const std::function<void()>& on_prompt) {
  return CatchTorch([&]() -> absl::StatusOr<std::vector<CalibrationCache>> {
    const at::NoGradGuard no_grad;
    std::vector<CalibrationCache> caches(prompts.size());
    for (const std::vector<size_t>& batch : Batches(prompts)) {
      std::vector<std::vector<int32_t>> ids;
      for (const size_t i : batch) ids.push_back(prompts[i].ids);
      const at::Device device = sharer.options().device;
      ASSIGN_OR_RETURN(const ForwardResult result,
                       sharer.Forward(TokenBatch::FromSequences(ids, device), nullptr));
      for (size_t row = 0; row < batch.size(); ++row) {
        const CalibrationPrompt& prompt = prompts[batch[row]];
        const std::vector<int64_t> tokens(prompt.positions.begin(), prompt.positions.end());
        const at::Tensor index = at::tensor(tokens, at::kLong).to(device);
        const auto r = static_cast<int64_t>(row);
        caches[batch[row]] = {TensorsOfRow(result.cache.keys, layers.keys, r, index),
                              TensorsOfRow(result.cache.values, layers.values, r, index)};
        on_prompt();
      }
    }
    return caches;
  });
}

at::Tensor WithoutRotation(const at::Tensor& keys, const std::vector<uint32_t>& positions,
                           const std::vector<int32_t>& layers, const KeyRotation& rotation) {
  at::Tensor plain = at::empty(keys.sizes(), keys.options().dtype(at::kFloat));
  const std::vector<int64_t> places(positions.begin(), positions.end());
  const at::Tensor position = at::tensor(places, at::kLong).to(at::kFloat).unsqueeze(1);
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::vector<float>& list = rotation.frequencies[rotation.of_layer[layers[i]]];
    const at::Tensor angles = (position * at::tensor(list)).to(keys.device()).unsqueeze(1);
    const at::Tensor cosines = angles.cos(), sines = angles.sin();  // [T, 1, D / 2]
    const auto tensor = static_cast<int64_t>(i);
    const std::vector<at::Tensor> y = keys.select(1, tensor).to(at::kFloat).chunk(2, -1);
    plain.select(1, tensor).copy_(at::cat({y[0] * cosines + y[1] * sines,  //
                                           y[1] * cosines - y[0] * sines},
                                          -1));
  }
  return plain;
}

}  // namespace qc2c
