// config.json and generation_config.json of a Hugging Face model folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tensor/kv_cache_view.h"

namespace qc2c {

// One description of a decoder that every supported family fills in:
//   Qwen2ForCausalLM   bias on q, k, v
//   Qwen3ForCausalLM   RMSNorm on q and k a head, head_dim apart from hidden_size
//   LlamaForCausalLM   neither
struct ModelConfig {
  std::string architecture;
  int32_t num_layers = 0;
  int32_t hidden_size = 0;        // C
  int32_t intermediate_size = 0;  // of the gated feed-forward layer
  int32_t num_heads = 0;          // query heads, a multiple of num_kv_heads
  int32_t num_kv_heads = 0;       // H
  int32_t head_dim = 0;           // D, even
  int32_t vocab_size = 0;         // V
  int32_t max_positions = 0;      // tokens a sequence may have
  double rope_theta = 10000.0;
  double rms_norm_eps = 1e-6;
  enum class QkvBias { kNone, kPresent } qkv_bias = QkvBias::kNone;
  enum class QkNorm { kNone, kPerHead } qk_norm = QkNorm::kNone;
  enum class Embedding { kTied, kUntied } embedding = Embedding::kTied;
  std::vector<int32_t> eos_ids;  // from generation_config.json, else config.json

  // INVALID_ARGUMENT naming the file and the field that is missing, misspelt in type, out of range
  // or not understood (an unknown architecture, rope_scaling, sliding_window in use, hidden_act).
  static absl::StatusOr<ModelConfig> Load(const std::filesystem::path& folder);

  // Writes config.json and generation_config.json as transformers (4 and 5) and Load read them.
  absl::Status Save(const std::filesystem::path& folder) const;

  // INVALID_ARGUMENT naming the field that is out of range or does not fit another.
  absl::Status Validate() const;

  KvLayout Layout() const { return {num_layers, num_kv_heads, head_dim}; }
};

}  // namespace qc2c
