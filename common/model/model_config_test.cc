#include "common/model/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/model/published_configs.h"

namespace qc2c {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Fault {
  const char* field;
  nlohmann::json value;  // null: the field is taken away
};

class ModelConfigTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(::testing::TempDir()) / absl::StrCat("qc2c_", info->name());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<ModelConfig> Load(const nlohmann::json& json) {
    EXPECT_TRUE(WriteFileAtomically(folder_ / "config.json", json.dump()).ok());
    return ModelConfig::Load(folder_);
  }

  // Each fault, put into a configuration that is valid, is an INVALID_ARGUMENT that names it.
  void ExpectRefusals(const nlohmann::json& valid, std::span<const Fault> faults) {
    for (const Fault& fault : faults) {
      nlohmann::json json = valid;
      json.erase(fault.field);
      if (!fault.value.is_null()) json[fault.field] = fault.value;
      const absl::Status status = Load(json).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << json;
      EXPECT_THAT(std::string(status.message()), HasSubstr("config.json")) << json;
      EXPECT_THAT(std::string(status.message()), HasSubstr(fault.field)) << json;
      EXPECT_THAT(std::string(status.message()), HasSubstr("expected")) << json;
    }
  }

  std::filesystem::path folder_;
};

TEST_F(ModelConfigTest, ReadsQwen2InTheFormOfTransformers4) {
  const ModelConfig config = Load(Qwen2()).value();
  EXPECT_EQ(config.Layout(), (KvLayout{24, 2, 64}));
  EXPECT_EQ(config.hidden_size, 896);
  EXPECT_EQ(config.num_heads, 14);
  EXPECT_EQ(config.rope.theta, 1e6);
  EXPECT_EQ(config.traits.qkv_bias, ModelConfig::Traits::QkvBias::kPresent);
  EXPECT_EQ(config.traits.qk_norm, ModelConfig::Traits::QkNorm::kNone);
  EXPECT_EQ(config.embedding, ModelConfig::Embedding::kTied);
  EXPECT_THAT(config.eos_ids, ElementsAre(151645));
}

TEST_F(ModelConfigTest, ReadsQwen3InTheFormOfTransformers5) {
  nlohmann::json json = Qwen2();
  json["architectures"] = {"Qwen3ForCausalLM"};
  json["model_type"] = "qwen3";
  json["head_dim"] = 128;
  json["attention_bias"] = false;
  json["layer_types"] = std::vector<std::string>(24, "full_attention");
  json["rope_scaling"] = nullptr;
  json.erase("rope_theta");
  json["rope_parameters"] = {{"rope_theta", 500000}, {"rope_type", "default"}};
  const ModelConfig config = Load(json).value();
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.rope.theta, 5e5);
  EXPECT_EQ(config.traits.qkv_bias, ModelConfig::Traits::QkvBias::kNone);
  EXPECT_EQ(config.traits.qk_norm, ModelConfig::Traits::QkNorm::kPerHead);
}

struct Published {
  nlohmann::json json;
  KvLayout layout;
  int32_t hidden_size;
  RopeConfig rope;
  ModelConfig::Embedding embedding;
};

TEST_F(ModelConfigTest, PublishedConfigurationsLoad) {
  using Embedding = ModelConfig::Embedding;
  const RopeConfig llama3 = {5e5, Llama3RopeScaling{32, 1, 4, 8192}};
  const Published models[] = {
      {Qwen2(), {24, 2, 64}, 896, {1e6, {}}, Embedding::kTied},
      {Qwen3(), {28, 8, 128}, 1024, {1e6, {}}, Embedding::kTied},
      {Llama32(), {16, 8, 64}, 2048, llama3, Embedding::kTied},
      {SmolLm2(), {30, 3, 64}, 576, {1e5, {}}, Embedding::kTied},
      {TinyLlama(), {22, 4, 64}, 2048, {1e4, {}}, Embedding::kUntied},
      {Gemma3(), {26, 1, 256}, 1152, {1e6, {}}, Embedding::kTied},
      {Gemma3Of270M(), {18, 1, 256}, 640, {1e6, {}}, Embedding::kTied},
  };
  for (const Published& model : models) {
    const absl::StatusOr<ModelConfig> config = Load(model.json);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->Layout(), model.layout);
    EXPECT_EQ(config->hidden_size, model.hidden_size);
    EXPECT_EQ(config->rope, model.rope);
    EXPECT_EQ(config->embedding, model.embedding);
    EXPECT_EQ(config->max_positions, model.json["max_position_embeddings"]);
  }
}

TEST_F(ModelConfigTest, GemmaHasFiveWindowedLayersBeforeEachFullOne) {
  for (const nlohmann::json& json : {Gemma3(), Gemma3Of270M()}) {
    const ModelConfig config = Load(json).value();
    for (int32_t layer = 0; layer < config.num_layers; ++layer) {
      EXPECT_EQ(config.AttentionOf(layer) == ModelConfig::Attention::kFull, layer % 6 == 5);
    }
    EXPECT_EQ(config.window, 512);
    EXPECT_EQ(config.window_rope, (RopeConfig{1e4, {}}));
    EXPECT_EQ(config.query_pre_attn_scalar, 256);
    EXPECT_EQ(config.pad_id, 0);
  }
  nlohmann::json json = Gemma3();
  json["sliding_window_pattern"] = 2;
  EXPECT_EQ(Load(json)->AttentionOf(1), ModelConfig::Attention::kFull);
}

// Leaving a field out means what transformers' classes say.
TEST_F(ModelConfigTest, GemmaInTheFormOfTransformers5EqualsThatOfTransformers4) {
  nlohmann::json json = Gemma3();
  const ModelConfig config = Load(json).value();
  for (const char* field : {"rope_theta", "rope_local_base_freq", "rope_scaling",
                            "sliding_window_pattern", "query_pre_attn_scalar", "head_dim"}) {
    json.erase(field);
  }
  EXPECT_EQ(Load(json).value(), config);
  json["rope_parameters"] = {
      {"full_attention", {{"rope_theta", 1e6}, {"rope_type", "default"}}},
      {"sliding_attention", {{"rope_theta", 1e4}, {"rope_type", "default"}}}};
  EXPECT_EQ(Load(json).value(), config);
  json["rope_parameters"]["sliding_attention"]["rope_theta"] = 2e4;
  EXPECT_EQ(Load(json)->window_rope.theta, 2e4);
  EXPECT_EQ(Load(json)->rope.theta, 1e6);
}

TEST_F(ModelConfigTest, Llama3ScalingInTheFormOfTransformers5EqualsThatOfTransformers4) {
  nlohmann::json json = Llama32();
  const ModelConfig config = Load(json).value();
  json["rope_parameters"] = json["rope_scaling"];
  json["rope_parameters"]["rope_theta"] = json["rope_theta"];
  json.erase("rope_scaling");
  json.erase("rope_theta");
  EXPECT_EQ(Load(json).value(), config);
}

TEST_F(ModelConfigTest, AFieldThatIsUnknownAndHarmlessIsIgnored) {
  nlohmann::json json = Qwen2();
  const ModelConfig config = Load(json).value();
  json["note_of_somebody"] = {{"any", "thing"}};
  EXPECT_EQ(Load(json).value(), config);
}

TEST_F(ModelConfigTest, GenerationConfigDecidesWhatEndsAnAnswer) {
  ASSERT_TRUE(WriteFileAtomically(folder_ / "generation_config.json",
                                  R"({"eos_token_id": [151645, 151643]})")
                  .ok());
  EXPECT_THAT(Load(Qwen2())->eos_ids, ElementsAre(151645, 151643));
  ASSERT_TRUE(WriteFileAtomically(folder_ / "generation_config.json", "{}").ok());
  EXPECT_THAT(Load(Qwen2())->eos_ids, ElementsAre(151645));
  nlohmann::json json = Qwen2();
  json["eos_token_id"] = nullptr;
  EXPECT_THAT(Load(json)->eos_ids, IsEmpty());
  EXPECT_EQ(Load(json)->pad_id, std::nullopt);
  json["pad_token_id"] = 5;
  EXPECT_EQ(Load(json)->pad_id, 5);
  ASSERT_TRUE(
      WriteFileAtomically(folder_ / "generation_config.json", R"({"pad_token_id": 151643})").ok());
  EXPECT_EQ(Load(json)->pad_id, 151643);
}

TEST_F(ModelConfigTest, WhatIsSavedLoadsBack) {
  for (const nlohmann::json& json : {Qwen2(), Llama32(), Gemma3()}) {
    std::filesystem::remove(folder_ / "generation_config.json");
    ModelConfig config = Load(json).value();
    config.pad_id = 7;
    const absl::Status saved = config.Save(folder_);
    ASSERT_TRUE(saved.ok()) << saved;
    EXPECT_EQ(ModelConfig::Load(folder_).value(), config);
  }
}

TEST_F(ModelConfigTest, WhatConfigJsonCannotHoldIsNotSaved) {
  ModelConfig config = Load(Gemma3()).value();
  config.window_rope.llama3.emplace();
  EXPECT_THAT(std::string(config.Save(folder_).message()), HasSubstr("window_rope"));
  config = Load(Qwen2()).value();
  config.architecture = "LlamaForCausalLM";
  EXPECT_THAT(std::string(config.Save(folder_).message()), HasSubstr("with traits of another"));
}

TEST_F(ModelConfigTest, AWrongFieldIsRefusedByName) {
  const Fault faults[] = {
      {"model_type", "qwen3"},
      {"pad_token_id", -2},
      {"final_logit_softcapping", 30.0},
      {"query_pre_attn_scalar", 256},
      {"architectures", nullptr},
      {"architectures", "Qwen2ForCausalLM"},
      {"architectures", {"GPT2LMHeadModel"}},
      {"architectures", {"Qwen2ForCausalLM", "Qwen3ForCausalLM"}},
      {"num_hidden_layers", nullptr},
      {"num_hidden_layers", 0},
      {"num_hidden_layers", 1025},
      {"num_hidden_layers", "24"},
      {"num_hidden_layers", 24.5},
      {"hidden_size", -896},
      {"intermediate_size", 18446744073709551615u},
      {"num_attention_heads", nullptr},
      {"num_key_value_heads", 0},
      {"head_dim", 2048},
      {"vocab_size", 1e10},
      {"max_position_embeddings", nullptr},
      {"rms_norm_eps", "small"},
      {"rope_theta", 0},
      {"rope_theta", {{"base", 10000}}},
      {"hidden_act", "gelu"},
      {"hidden_act", nullptr},
      {"use_sliding_window", true},
      {"layer_types", {"sliding_attention"}},
      {"quantization_config", {{"bits", 4}}},
      {"tie_word_embeddings", "yes"},
      {"eos_token_id", 151936},
      {"eos_token_id", {1, "two"}},
      {"rope_scaling", "linear"},
  };
  ExpectRefusals(Qwen2(), faults);
}

TEST_F(ModelConfigTest, RopeFieldsThatAreNotCarriedOutAreRefusedByName) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    nlohmann::json json = Llama32();
    const nlohmann::json llama3 = json["rope_scaling"];
    json.erase("rope_scaling");
    const auto message = [&](const char* field, const nlohmann::json& value) {
      json[key] = llama3;
      json[key][field] = value;
      return std::string(Load(json).status().message());
    };
    EXPECT_EQ(message("rope_theta", 1e5), "");
    EXPECT_THAT(message("rope_type", "yarn"),
                HasSubstr("rope_type is \"yarn\": expected \"default\" or \"llama3\""));
    EXPECT_THAT(message("type", "linear"), HasSubstr("type is \"linear\""));
    EXPECT_THAT(message("factor", nullptr), HasSubstr("factor is missing"));
    EXPECT_THAT(message("factor", 0.5), HasSubstr("factor is 0.5"));
    EXPECT_THAT(message("low_freq_factor", 0), HasSubstr("low_freq_factor is 0"));
    EXPECT_THAT(message("high_freq_factor", 1.0), HasSubstr("more than low_freq_factor"));
    EXPECT_THAT(message("original_max_position_embeddings", 131073),
                HasSubstr("original_max_position_embeddings is 131073"));
    EXPECT_THAT(message("attention_factor", 2.0),
                HasSubstr("attention_factor is 2.0: expected nothing"));
    EXPECT_THAT(message("partial_rotary_factor", 0.5), HasSubstr("partial_rotary_factor is 0.5"));
    EXPECT_THAT(message("rope_type", "default"), HasSubstr("factor is 32.0: expected nothing"));
  }
}

TEST_F(ModelConfigTest, GemmaFieldsThatAreNotCarriedOutAreRefusedByName) {
  const Fault faults[] = {
      {"attn_logit_softcapping", 50.0},
      {"final_logit_softcapping", 30.0},
      {"use_bidirectional_attention", true},
      {"hidden_activation", "gelu"},
      {"sliding_window", 0},
      {"sliding_window_pattern", 0},
      {"layer_types", {"full_attention"}},
      {"layer_types", std::vector<std::string>(26, "chunked_attention")},
      {"query_pre_attn_scalar", 0},
      {"rope_local_base_freq", "slow"},
      {"rope_scaling", {{"rope_type", "linear"}, {"factor", 8.0}}},
      {"rope_parameters", {{"rope_theta", 1e6}}},
      {"attention_bias", true},
  };
  ExpectRefusals(Gemma3(), faults);
}

TEST_F(ModelConfigTest, HeadsThatDoNotDivideAndOddHeadsAreRefused) {
  nlohmann::json json = Qwen2();
  json["num_key_value_heads"] = 4;
  EXPECT_THAT(std::string(Load(json).status().message()),
              HasSubstr("num_heads is 14: expected a multiple of num_kv_heads, 4"));
  json = Qwen2();
  json["head_dim"] = 63;
  EXPECT_THAT(std::string(Load(json).status().message()), HasSubstr("head_dim is 63"));
}

TEST_F(ModelConfigTest, MissingAndMalformedFilesAreRefused) {
  EXPECT_EQ(ModelConfig::Load(folder_).status().code(), absl::StatusCode::kNotFound);
  for (const char* text : {"", "{", "[]", "\"\xff\"", "nul"}) {
    ASSERT_TRUE(WriteFileAtomically(folder_ / "config.json", text).ok());
    EXPECT_EQ(ModelConfig::Load(folder_).status().code(), absl::StatusCode::kInvalidArgument);
  }
  ASSERT_TRUE(WriteFileAtomically(folder_ / "generation_config.json", "[1]").ok());
  EXPECT_THAT(std::string(Load(Qwen2()).status().message()), HasSubstr("generation_config.json"));
}

}  // namespace
}  // namespace qc2c
