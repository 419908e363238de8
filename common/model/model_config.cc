#include "common/model/model_config.h"

#include <algorithm>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/model/json_fields.h"

namespace qc2c {
namespace {

// Above any model that exists, and small enough that no product of two overflows 64 bits.
constexpr int32_t kMaxWidth = 1 << 20;
constexpr int32_t kMaxVocab = 1 << 24;

struct Family {
  const char* model_type;
  ModelConfig::QkvBias qkv_bias;
  ModelConfig::QkNorm qk_norm;
};

const std::map<std::string, Family>& Families() {
  using Bias = ModelConfig::QkvBias;
  using Norm = ModelConfig::QkNorm;
  static const auto* families = new std::map<std::string, Family>{
      {"LlamaForCausalLM", {"llama", Bias::kNone, Norm::kNone}},
      {"Qwen2ForCausalLM", {"qwen2", Bias::kPresent, Norm::kNone}},
      {"Qwen3ForCausalLM", {"qwen3", Bias::kNone, Norm::kPerHead}},
  };
  return *families;
}

absl::Status ReadArchitecture(const JsonFields& json, ModelConfig& config) {
  const std::string expected =
      "a list of one of LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM";
  if (!json.Has("architectures")) return json.Wrong("architectures", expected);
  const nlohmann::json& list = json.at("architectures");
  if (!list.is_array() || list.size() != 1 || !list[0].is_string()) {
    return json.Wrong("architectures", expected);
  }
  config.architecture = list[0].get<std::string>();
  const auto family = Families().find(config.architecture);
  if (family == Families().end()) return json.Wrong("architectures", expected);
  config.qkv_bias = family->second.qkv_bias;
  config.qk_norm = family->second.qk_norm;
  return absl::OkStatus();
}

absl::Status ReadShape(const JsonFields& json, ModelConfig& config) {
  ASSIGN_OR_RETURN(config.num_layers, json.Int("num_hidden_layers", 1, KvLayout::kMaxLayers));
  ASSIGN_OR_RETURN(config.hidden_size, json.Int("hidden_size", 1, kMaxWidth));
  ASSIGN_OR_RETURN(config.intermediate_size, json.Int("intermediate_size", 1, kMaxWidth));
  ASSIGN_OR_RETURN(config.num_heads, json.Int("num_attention_heads", 1, KvLayout::kMaxKvHeads));
  ASSIGN_OR_RETURN(config.num_kv_heads, json.Int("num_key_value_heads", 1, KvLayout::kMaxKvHeads));
  // transformers' Qwen3 does not derive the head size from the hidden size.
  const int32_t derived = config.qk_norm == ModelConfig::QkNorm::kPerHead
                              ? 128
                              : std::max(1, config.hidden_size / config.num_heads);
  ASSIGN_OR_RETURN(config.head_dim, json.IntOr("head_dim", 1, KvLayout::kMaxHeadDim, derived));
  ASSIGN_OR_RETURN(config.vocab_size, json.Int("vocab_size", 1, kMaxVocab));
  ASSIGN_OR_RETURN(config.max_positions, json.Int("max_position_embeddings", 1,
                                                  static_cast<int32_t>(KvLayout::kMaxTokens)));
  ASSIGN_OR_RETURN(config.rms_norm_eps, json.DoubleOr("rms_norm_eps", 0.0, 1.0, 1e-6));
  return absl::OkStatus();
}

// `rope_theta` and `rope_scaling` beside each other, or both in `rope_parameters` (transformers 5).
absl::Status ReadRope(const JsonFields& json, ModelConfig& config) {
  const double max_theta = std::numeric_limits<float>::max();
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!json.Has(key)) continue;
    ASSIGN_OR_RETURN(const JsonFields rope, json.Object(key));
    RETURN_IF_ERROR(rope.ExpectAbsentOr("rope_type", "default"));
    RETURN_IF_ERROR(rope.ExpectAbsentOr("type", "default"));
    RETURN_IF_ERROR(rope.ExpectAbsentOr("partial_rotary_factor", 1.0));
    ASSIGN_OR_RETURN(config.rope_theta,
                     rope.DoubleOr("rope_theta", 1.0, max_theta, config.rope_theta));
  }
  ASSIGN_OR_RETURN(config.rope_theta,
                   json.DoubleOr("rope_theta", 1.0, max_theta, config.rope_theta));
  return json.ExpectAbsentOr("partial_rotary_factor", 1.0);
}

// Fields that would change the computation, and that this code does not carry out.
absl::Status RefuseUnknown(const JsonFields& json, const ModelConfig& config) {
  ASSIGN_OR_RETURN(const std::string hidden_act, json.Text("hidden_act"));
  if (hidden_act != "silu") return json.Wrong("hidden_act", "\"silu\"");
  RETURN_IF_ERROR(json.ExpectAbsentOr("use_sliding_window", false));
  RETURN_IF_ERROR(json.ExpectAbsentOr("quantization_config", nullptr));
  RETURN_IF_ERROR(json.ExpectAbsentOr("mlp_bias", false));
  if (config.qkv_bias == ModelConfig::QkvBias::kNone) {
    RETURN_IF_ERROR(json.ExpectAbsentOr("attention_bias", false));
  }
  if (json.Has("layer_types")) {
    const std::vector<std::string> full(config.num_layers, "full_attention");
    if (json.at("layer_types") != nlohmann::json(full)) {
      return json.Wrong("layer_types",
                        absl::StrCat("full_attention for each of ", config.num_layers, " layers"));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadEos(const std::filesystem::path& folder, const JsonFields& json,
                     ModelConfig& config) {
  const std::filesystem::path path = folder / "generation_config.json";
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    ASSIGN_OR_RETURN(const JsonFields generation, JsonFields::Load(path));
    ASSIGN_OR_RETURN(config.eos_ids,
                     generation.IntOrInts("eos_token_id", 0, config.vocab_size - 1));
  }
  if (config.eos_ids.empty()) {
    ASSIGN_OR_RETURN(config.eos_ids, json.IntOrInts("eos_token_id", 0, config.vocab_size - 1));
  }
  return absl::OkStatus();
}

absl::Status InRange(const char* field, int64_t value, int64_t max) {
  if (value >= 1 && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("model config: ", field, " is ", value, ": expected 1 to ", max));
}

}  // namespace

absl::Status ModelConfig::Validate() const {
  RETURN_IF_ERROR(Layout().Validate());
  RETURN_IF_ERROR(InRange("hidden_size", hidden_size, kMaxWidth));
  RETURN_IF_ERROR(InRange("intermediate_size", intermediate_size, kMaxWidth));
  RETURN_IF_ERROR(InRange("num_heads", num_heads, KvLayout::kMaxKvHeads));
  RETURN_IF_ERROR(InRange("vocab_size", vocab_size, kMaxVocab));
  RETURN_IF_ERROR(InRange("max_positions", max_positions, KvLayout::kMaxTokens));
  if (num_heads % num_kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat("model config: num_heads is ", num_heads,
                                                   ": expected a multiple of num_kv_heads, ",
                                                   num_kv_heads));
  }
  if (head_dim % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("model config: head_dim is ", head_dim, ": expected an even number"));
  }
  return absl::OkStatus();
}

absl::StatusOr<ModelConfig> ModelConfig::Load(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const JsonFields json, JsonFields::Load(folder / "config.json"));
  ModelConfig config;
  RETURN_IF_ERROR(ReadArchitecture(json, config));
  RETURN_IF_ERROR(ReadShape(json, config));
  RETURN_IF_ERROR(ReadRope(json, config));
  RETURN_IF_ERROR(RefuseUnknown(json, config));
  config.embedding = Embedding::kUntied;
  if (json.Has("tie_word_embeddings")) {
    if (!json.at("tie_word_embeddings").is_boolean()) {
      return json.Wrong("tie_word_embeddings", "true or false");
    }
    if (json.at("tie_word_embeddings").get<bool>()) config.embedding = Embedding::kTied;
  }
  RETURN_IF_ERROR(ReadEos(folder, json, config));
  if (absl::Status status = config.Validate(); !status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(json.name(), ": ", std::string(status.message())));
  }
  return config;
}

absl::Status ModelConfig::Save(const std::filesystem::path& folder) const {
  const auto family = Families().find(architecture);
  if (family == Families().end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("model config: architecture is \"", architecture, "\": not a known one"));
  }
  const nlohmann::ordered_json json = {
      {"architectures", {architecture}},
      {"model_type", family->second.model_type},
      {"num_hidden_layers", num_layers},
      {"hidden_size", hidden_size},
      {"intermediate_size", intermediate_size},
      {"num_attention_heads", num_heads},
      {"num_key_value_heads", num_kv_heads},
      {"head_dim", head_dim},
      {"vocab_size", vocab_size},
      {"max_position_embeddings", max_positions},
      {"rope_theta", rope_theta},
      {"rms_norm_eps", rms_norm_eps},
      {"hidden_act", "silu"},
      {"tie_word_embeddings", embedding == Embedding::kTied},
  };
  RETURN_IF_ERROR(WriteFileAtomically(folder / "config.json", json.dump(2) + "\n"));
  const nlohmann::ordered_json generation = {{"eos_token_id", eos_ids}};
  return WriteFileAtomically(folder / "generation_config.json", generation.dump(2) + "\n");
}

}  // namespace qc2c
