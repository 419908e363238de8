#include "common/model/model_family.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace qc2c {
namespace {

using Traits = ModelConfig::Traits;
using Embedding = ModelConfig::Embedding;
using Presence = ModelFamily::Presence;
using Windows = ModelFamily::Windows;

constexpr Traits kPlain = {};
constexpr Traits kQkvBias = {.qkv_bias = Traits::QkvBias::kPresent};
constexpr Traits kQkNorm = {.qk_norm = Traits::QkNorm::kPerHead};
constexpr Traits kGemma = {.qk_norm = Traits::QkNorm::kPerHead,
                           .block = Traits::Block::kSandwich,
                           .norm_scale = Traits::NormScale::kOnePlusWeight,
                           .activation = Traits::Activation::kGeluTanh,
                           .embedding_scale = Traits::EmbeddingScale::kSqrtHidden};

constexpr ModelFamily kFamilies[] = {
    {"Gemma3ForCausalLM", "gemma3_text", kGemma, "hidden_activation", "gelu_pytorch_tanh",
     Presence::kOptional, 256, Embedding::kTied, Windows::kSomeLayers},
    {"LlamaForCausalLM", "llama", kPlain, "hidden_act", "silu", Presence::kRequired, 0,
     Embedding::kUntied, Windows::kNone},
    {"Qwen2ForCausalLM", "qwen2", kQkvBias, "hidden_act", "silu", Presence::kRequired, 0,
     Embedding::kUntied, Windows::kNone},
    // transformers' Qwen3 does not derive the head size from the hidden size.
    {"Qwen3ForCausalLM", "qwen3", kQkNorm, "hidden_act", "silu", Presence::kRequired, 128,
     Embedding::kUntied, Windows::kNone},
};

}  // namespace

const ModelFamily* FindFamily(const std::string& architecture) {
  const auto* found =
      std::find_if(std::begin(kFamilies), std::end(kFamilies),
                   [&](const ModelFamily& family) { return architecture == family.architecture; });
  return found == std::end(kFamilies) ? nullptr : found;
}

std::string ArchitectureNames() {
  std::string names;
  for (const ModelFamily& family : kFamilies) {
    const bool is_last = &family == std::end(kFamilies) - 1;
    absl::StrAppend(&names, names.empty() ? "" : is_last ? " or " : ", ", family.architecture);
  }
  return names;
}

}  // namespace qc2c
