// ModelConfig::Load and Save.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/model/json_fields.h"
#include "common/model/model_config.h"
#include "common/model/model_family.h"

namespace qc2c {
namespace {

using Attention = ModelConfig::Attention;

constexpr char kFullAttention[] = "full_attention";
constexpr char kSlidingAttention[] = "sliding_attention";

// What transformers assumes for a Gemma 3 that leaves them out.
constexpr RopeConfig kGemmaRope = {.theta = 1e6, .llama3 = std::nullopt};
constexpr RopeConfig kGemmaWindowRope = {.theta = 1e4, .llama3 = std::nullopt};
constexpr int32_t kGemmaWindow = 4096;
constexpr int32_t kGemmaWindowPattern = 6;
constexpr double kGemmaQueryPreAttnScalar = 256;

absl::StatusOr<const ModelFamily*> ReadFamily(const JsonFields& json, ModelConfig& config) {
  const std::string expected = absl::StrCat("a list of one of ", ArchitectureNames());
  if (!json.Has("architectures")) return json.Wrong("architectures", expected);
  const nlohmann::json& list = json.at("architectures");
  if (!list.is_array() || list.size() != 1 || !list[0].is_string()) {
    return json.Wrong("architectures", expected);
  }
  config.architecture = list[0].get<std::string>();
  const ModelFamily* family = FindFamily(config.architecture);
  if (family == nullptr) return json.Wrong("architectures", expected);
  RETURN_IF_ERROR(json.ExpectAbsentOr("model_type", family->model_type));
  config.traits = family->traits;
  return family;
}

absl::Status ReadShape(const JsonFields& json, const ModelFamily& family, ModelConfig& config) {
  ASSIGN_OR_RETURN(config.num_layers, json.Int("num_hidden_layers", 1, KvLayout::kMaxLayers));
  ASSIGN_OR_RETURN(config.hidden_size, json.Int("hidden_size", 1, ModelConfig::kMaxWidth));
  ASSIGN_OR_RETURN(config.intermediate_size,
                   json.Int("intermediate_size", 1, ModelConfig::kMaxWidth));
  ASSIGN_OR_RETURN(config.num_heads, json.Int("num_attention_heads", 1, KvLayout::kMaxKvHeads));
  ASSIGN_OR_RETURN(config.num_kv_heads, json.Int("num_key_value_heads", 1, KvLayout::kMaxKvHeads));
  const int32_t derived = family.head_dim_if_absent != 0
                              ? family.head_dim_if_absent
                              : std::max(1, config.hidden_size / config.num_heads);
  ASSIGN_OR_RETURN(config.head_dim, json.IntOr("head_dim", 1, KvLayout::kMaxHeadDim, derived));
  ASSIGN_OR_RETURN(config.vocab_size, json.Int("vocab_size", 1, ModelConfig::kMaxVocab));
  ASSIGN_OR_RETURN(config.max_positions, json.Int("max_position_embeddings", 1,
                                                  static_cast<int32_t>(KvLayout::kMaxTokens)));
  ASSIGN_OR_RETURN(config.rms_norm_eps, json.DoubleOr("rms_norm_eps", 0.0, 1.0, 1e-6));
  return absl::OkStatus();
}

absl::Status ReadActivation(const JsonFields& json, const ModelFamily& family) {
  if (family.activation_presence == ModelFamily::Presence::kRequired) {
    RETURN_IF_ERROR(json.Text(family.activation_field).status());
  }
  return json.ExpectAbsentOr(family.activation_field, family.activation_name);
}

absl::Status ReadEmbedding(const JsonFields& json, const ModelFamily& family, ModelConfig& config) {
  config.embedding = family.embedding_if_absent;
  if (!json.Has("tie_word_embeddings")) return absl::OkStatus();
  const nlohmann::json& value = json.at("tie_word_embeddings");
  if (!value.is_boolean()) return json.Wrong("tie_word_embeddings", "true or false");
  config.embedding =
      value.get<bool>() ? ModelConfig::Embedding::kTied : ModelConfig::Embedding::kUntied;
  return absl::OkStatus();
}

absl::Status ReadPlainRope(const JsonFields& json, ModelConfig& config) {
  ASSIGN_OR_RETURN(config.rope.theta, json.DoubleOr("rope_theta", 1.0, kMaxRopeTheta, 10000.0));
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!json.Has(key)) continue;
    ASSIGN_OR_RETURN(const JsonFields rope, json.Object(key));
    ASSIGN_OR_RETURN(config.rope, ReadRope(rope, config.rope, config.max_positions));
  }
  return absl::OkStatus();
}

// Either an object a layer type (transformers 5), or rope_theta with rope_scaling for the full
// layers and rope_local_base_freq for the others.
absl::Status ReadRopeOfLayerTypes(const JsonFields& json, ModelConfig& config) {
  RopeConfig& full = config.rope;
  RopeConfig& window = config.window_rope;
  ASSIGN_OR_RETURN(full.theta, json.DoubleOr("rope_theta", 1.0, kMaxRopeTheta, kGemmaRope.theta));
  ASSIGN_OR_RETURN(window.theta, json.DoubleOr("rope_local_base_freq", 1.0, kMaxRopeTheta,
                                               kGemmaWindowRope.theta));
  if (json.Has("rope_scaling")) {
    ASSIGN_OR_RETURN(const JsonFields rope, json.Object("rope_scaling"));
    ASSIGN_OR_RETURN(full, ReadRope(rope, full, config.max_positions));
  }
  if (!json.Has("rope_parameters")) return absl::OkStatus();
  ASSIGN_OR_RETURN(const JsonFields types, json.Object("rope_parameters"));
  for (const auto& [type, value] : types.object().items()) {
    if (type != kFullAttention && type != kSlidingAttention) {
      return types.Wrong(type, absl::StrCat("only ", kFullAttention, " and ", kSlidingAttention));
    }
    if (!types.Has(type)) continue;
    ASSIGN_OR_RETURN(const JsonFields rope, types.Object(type));
    RopeConfig& own = type == kFullAttention ? full : window;
    ASSIGN_OR_RETURN(own, ReadRope(rope, own, config.max_positions));
  }
  return absl::OkStatus();
}

absl::Status ReadLayerTypes(const JsonFields& json, ModelConfig& config) {
  if (!json.Has("layer_types")) {
    int32_t pattern = kGemmaWindowPattern;
    for (const char* key : {"_sliding_window_pattern", "sliding_window_pattern"}) {
      ASSIGN_OR_RETURN(pattern, json.IntOr(key, 1, KvLayout::kMaxLayers, pattern));
    }
    for (int32_t layer = 0; layer < config.num_layers; ++layer) {
      config.attention.push_back((layer + 1) % pattern == 0 ? Attention::kFull
                                                            : Attention::kWindow);
    }
    return absl::OkStatus();
  }
  const nlohmann::json& types = json.at("layer_types");
  if (types.is_array()) {
    for (const nlohmann::json& type : types) {
      if (type != kFullAttention && type != kSlidingAttention) break;
      config.attention.push_back(type == kFullAttention ? Attention::kFull : Attention::kWindow);
    }
  }
  if (types.size() == config.attention.size() &&
      config.attention.size() == static_cast<size_t>(config.num_layers)) {
    return absl::OkStatus();
  }
  return json.Wrong("layer_types", absl::StrCat(kFullAttention, " or ", kSlidingAttention,
                                                " for each of ", config.num_layers, " layers"));
}

absl::Status ReadWindows(const JsonFields& json, ModelConfig& config) {
  RETURN_IF_ERROR(ReadLayerTypes(json, config));
  RETURN_IF_ERROR(ReadRopeOfLayerTypes(json, config));
  ASSIGN_OR_RETURN(
      config.window,
      json.IntOr("sliding_window", 1, static_cast<int32_t>(KvLayout::kMaxTokens), kGemmaWindow));
  ASSIGN_OR_RETURN(config.query_pre_attn_scalar,
                   json.DoubleOr("query_pre_attn_scalar", 1e-6, 1e6, kGemmaQueryPreAttnScalar));
  return absl::OkStatus();
}

// The families without windows have fields for them, switched off.
absl::Status RefuseWindows(const JsonFields& json, const ModelConfig& config) {
  RETURN_IF_ERROR(json.ExpectAbsentOr("use_sliding_window", false));
  RETURN_IF_ERROR(json.ExpectAbsentOr("query_pre_attn_scalar", nullptr));
  if (!json.Has("layer_types")) return absl::OkStatus();
  const std::vector<std::string> full(config.num_layers, kFullAttention);
  if (json.at("layer_types") == nlohmann::json(full)) return absl::OkStatus();
  return json.Wrong("layer_types",
                    absl::StrCat(kFullAttention, " for each of ", config.num_layers, " layers"));
}

// Fields, of these families and of others built like them, that would change the computation and
// are not carried out, with the value at which they do nothing.
absl::Status RefuseWhatIsNotCarriedOut(const JsonFields& json, const ModelConfig& config) {
  static const std::pair<const char*, nlohmann::json> kNeutral[] = {
      {"attention_multiplier", nullptr},
      {"attn_logit_softcapping", nullptr},
      {"auto_map", nullptr},
      {"clip_qkv", nullptr},
      {"embedding_multiplier", 1.0},
      {"final_logit_softcapping", nullptr},
      {"logit_scale", nullptr},
      {"logits_scaling", 1.0},
      {"mlp_bias", false},
      {"no_rope_layers", nullptr},
      {"num_experts", nullptr},
      {"num_local_experts", nullptr},
      {"original_max_position_embeddings", nullptr},
      {"partial_rotary_factor", 1.0},
      {"quantization_config", nullptr},
      {"residual_multiplier", 1.0},
      {"rope_interleaved", false},
      {"use_bidirectional_attention", false},
      {"use_mrope", false},
  };
  for (const auto& [field, neutral] : kNeutral) {
    RETURN_IF_ERROR(json.ExpectAbsentOr(field, neutral));
  }
  if (config.traits.qkv_bias == ModelConfig::Traits::QkvBias::kPresent) return absl::OkStatus();
  return json.ExpectAbsentOr("attention_bias", false);
}

// generation_config.json decides where it says something, as in transformers' generate.
absl::Status ReadGeneration(const std::filesystem::path& folder, const JsonFields& json,
                            ModelConfig& config) {
  constexpr int32_t kNoPad = -1;  // some old configurations say so
  const int32_t max_id = config.vocab_size - 1;
  int32_t pad = kNoPad;
  ASSIGN_OR_RETURN(pad, json.IntOr("pad_token_id", kNoPad, max_id, kNoPad));
  const std::filesystem::path path = folder / "generation_config.json";
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    ASSIGN_OR_RETURN(const JsonFields generation, JsonFields::Load(path));
    ASSIGN_OR_RETURN(config.eos_ids, generation.IntOrInts("eos_token_id", 0, max_id));
    ASSIGN_OR_RETURN(pad, generation.IntOr("pad_token_id", kNoPad, max_id, pad));
  }
  if (config.eos_ids.empty()) {
    ASSIGN_OR_RETURN(config.eos_ids, json.IntOrInts("eos_token_id", 0, max_id));
  }
  if (pad != kNoPad) config.pad_id = pad;
  return absl::OkStatus();
}

void AddWindows(const ModelConfig& config, nlohmann::ordered_json& json) {
  nlohmann::ordered_json types = nlohmann::ordered_json::array();
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    types.push_back(config.AttentionOf(layer) == Attention::kFull ? kFullAttention
                                                                  : kSlidingAttention);
  }
  json["layer_types"] = std::move(types);
  json["sliding_window"] = config.window;
  json["query_pre_attn_scalar"] = config.query_pre_attn_scalar;
  json["rope_local_base_freq"] = config.window_rope.theta;
}

}  // namespace

absl::StatusOr<ModelConfig> ModelConfig::Load(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const JsonFields json, JsonFields::Load(folder / "config.json"));
  ModelConfig config;
  ASSIGN_OR_RETURN(const ModelFamily* family, ReadFamily(json, config));
  RETURN_IF_ERROR(ReadShape(json, *family, config));
  RETURN_IF_ERROR(ReadActivation(json, *family));
  RETURN_IF_ERROR(ReadEmbedding(json, *family, config));
  if (family->windows == ModelFamily::Windows::kSomeLayers) {
    RETURN_IF_ERROR(ReadWindows(json, config));
  } else {
    RETURN_IF_ERROR(ReadPlainRope(json, config));
    RETURN_IF_ERROR(RefuseWindows(json, config));
  }
  RETURN_IF_ERROR(RefuseWhatIsNotCarriedOut(json, config));
  RETURN_IF_ERROR(ReadGeneration(folder, json, config));
  if (absl::Status status = config.Validate(); !status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(json.name(), ": ", std::string(status.message())));
  }
  return config;
}

absl::Status ModelConfig::Save(const std::filesystem::path& folder) const {
  const ModelFamily* family = FindFamily(architecture);
  if (family == nullptr || traits != family->traits) {
    return absl::InvalidArgumentError(
        absl::StrCat("model config: architecture is \"", architecture, "\" with traits of ",
                     family == nullptr ? "none that is known" : "another"));
  }
  if (window_rope.llama3) {
    return absl::InvalidArgumentError(
        "model config: window_rope has llama3 scaling: no field of config.json holds that");
  }
  nlohmann::ordered_json json = {
      {"architectures", {architecture}},
      {"model_type", family->model_type},
      {"num_hidden_layers", num_layers},
      {"hidden_size", hidden_size},
      {"intermediate_size", intermediate_size},
      {"num_attention_heads", num_heads},
      {"num_key_value_heads", num_kv_heads},
      {"head_dim", head_dim},
      {"vocab_size", vocab_size},
      {"max_position_embeddings", max_positions},
      {"rope_theta", rope.theta},
      {"rms_norm_eps", rms_norm_eps},
      {family->activation_field, family->activation_name},
      {"tie_word_embeddings", embedding == Embedding::kTied},
  };
  if (rope.llama3) json["rope_scaling"] = RopeScalingJson(rope);
  if (family->windows == ModelFamily::Windows::kSomeLayers) AddWindows(*this, json);
  RETURN_IF_ERROR(WriteFileAtomically(folder / "config.json", json.dump(2) + "\n"));
  nlohmann::ordered_json generation = {{"eos_token_id", eos_ids}};
  if (pad_id) generation["pad_token_id"] = *pad_id;
  return WriteFileAtomically(folder / "generation_config.json", generation.dump(2) + "\n");
}

}  // namespace qc2c
