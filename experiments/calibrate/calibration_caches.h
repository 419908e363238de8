// The caches that a codebook is made from: what a sharer hands over for prompts as a receiver would
// ask for them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/codec/klt_template.h"
#include "common/codec/layer_set.h"
#include "common/codec/rotary.h"
#include "common/serving/language_model.h"
#include "experiments/prompt_format.h"
#include "experiments/question.h"
#include "receiver/token_pairing.h"

namespace qc2c {

struct CalibrationPrompt {
  std::vector<int32_t> ids;           // what the sharer reads
  std::vector<uint32_t> positions;    // of the wanted tokens
  std::vector<int32_t> receiver_ids;  // what the receiver reads; it answers behind the last
  std::vector<int32_t> slots;  // of all but the last, the wanted token that each takes, or -1

  KltPrompt View() const { return {ids, positions}; }
};

// The question as the receiver renders it, and its tokens paired with the sharer's.
absl::StatusOr<CalibrationPrompt> RenderPrompt(const Question& question, const PromptFormat& format,
                                               const LanguageModel& receiver,
                                               const TokenPairing& pairing);

// One prompt's wanted tokens in the open tensors, as the sharer's model made them.
struct CalibrationCache {
  at::Tensor keys;    // [T, key tensors, H, D]
  at::Tensor values;  // [T, value tensors, H, D]

  const at::Tensor& Of(Half half) const { return half == Half::kKey ? keys : values; }
};

// In the order of `prompts`, on the model's device; `on_prompt` after each.
absl::StatusOr<std::vector<CalibrationCache>> PrefillPrompts(
    const Model& sharer, const std::vector<CalibrationPrompt>& prompts, const KvLayerSet& layers,
    const std::function<void()>& on_prompt);

// keys [T, tensors, H, D] of `layers` without their rotation, in fp32.
at::Tensor WithoutRotation(const at::Tensor& keys, const std::vector<uint32_t>& positions,
                           const std::vector<int32_t>& layers, const KeyRotation& rotation);

}  // namespace qc2c
