// config.json and generation_config.json of a Hugging Face model folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/model/rope_config.h"
#include "common/tensor/kv_cache_view.h"

namespace qc2c {

// One description of a decoder that every supported family fills in:
//   Qwen2ForCausalLM    bias on q, k, v
//   Qwen3ForCausalLM    RMSNorm on q and k a head, head_dim apart from hidden_size
//   LlamaForCausalLM    neither; perhaps llama3 rope scaling
//   Gemma3ForCausalLM   q and k norms, norms around attention and feed-forward, a scaled embedding,
//                       tanh GELU, layers that attend to a window and have a rotation of their own
struct ModelConfig {
  // What a family is, whatever the sizes.
  struct Traits {
    enum class QkvBias { kNone, kPresent } qkv_bias = QkvBias::kNone;
    enum class QkNorm { kNone, kPerHead } qk_norm = QkNorm::kNone;  // before the rotation
    // kPreNorm: a norm before attention and before feed-forward. kSandwich: also one behind each,
    // before its output joins the residual stream.
    enum class Block { kPreNorm, kSandwich } block = Block::kPreNorm;
    // How a norm applies its weight w. kWeight: the normalised x is rounded to the activations'
    // dtype, then times w. kOnePlusWeight: times 1 + w in fp32, then rounded.
    enum class NormScale { kWeight, kOnePlusWeight } norm_scale = NormScale::kWeight;
    enum class Activation { kSilu, kGeluTanh } activation = Activation::kSilu;
    // kSqrtHidden: the embedding times sqrt(hidden_size) rounded to the activations' dtype.
    enum class EmbeddingScale { kNone, kSqrtHidden } embedding_scale = EmbeddingScale::kNone;

    bool operator==(const Traits&) const = default;
  };
  enum class Embedding { kTied, kUntied };
  // What a layer's token may attend to: all before it, or the last `window` tokens, itself
  // included.
  enum class Attention { kFull, kWindow };

  std::string architecture;
  Traits traits;
  int32_t num_layers = 0;
  int32_t hidden_size = 0;        // C
  int32_t intermediate_size = 0;  // of the gated feed-forward layer
  int32_t num_heads = 0;          // query heads, a multiple of num_kv_heads
  int32_t num_kv_heads = 0;       // H
  int32_t head_dim = 0;           // D, even
  int32_t vocab_size = 0;         // V
  int32_t max_positions = 0;      // tokens a sequence may have
  RopeConfig rope;
  double rms_norm_eps = 1e-6;
  double query_pre_attn_scalar = 0;  // scores are divided by its square root; 0: by head_dim's
  std::vector<Attention> attention;  // one a layer; empty: kFull for all
  int32_t window = 0;                // of kWindow layers, >= 1
  RopeConfig window_rope;            // of kWindow layers
  Embedding embedding = Embedding::kTied;
  std::vector<int32_t> eos_ids;   // from generation_config.json, else config.json
  std::optional<int32_t> pad_id;  // the same; what transformers pads with, unused here

  // INVALID_ARGUMENT naming the file and the field that is missing, misspelt in type, out of range
  // or not understood: an unknown architecture, rope type or activation, and every field that
  // would change the computation and is not carried out here. Other fields that
  // this code does not know are ignored.
  static absl::StatusOr<ModelConfig> Load(const std::filesystem::path& folder);

  // Writes config.json and generation_config.json as transformers (4 and 5) and Load read them.
  absl::Status Save(const std::filesystem::path& folder) const;

  // INVALID_ARGUMENT naming the field that is out of range or does not fit another.
  absl::Status Validate() const;

  Attention AttentionOf(int32_t layer) const {
    return attention.empty() ? Attention::kFull : attention[layer];
  }
  // Above any model that exists, and small enough that no product of two overflows 64 bits.
  static constexpr int32_t kMaxWidth = 1 << 20;
  static constexpr int32_t kMaxVocab = 1 << 24;

  KvLayout Layout() const { return {num_layers, num_kv_heads, head_dim}; }

  bool operator==(const ModelConfig&) const = default;
};

}  // namespace qc2c
