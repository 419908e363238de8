#include "common/model/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"

namespace qc2c {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

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

  std::filesystem::path folder_;
};

// The published Qwen2.5-0.5B-Instruct, in the form of transformers 4.
nlohmann::json Qwen2() {
  return {{"architectures", {"Qwen2ForCausalLM"}},
          {"attention_dropout", 0.0},
          {"eos_token_id", 151645},
          {"hidden_act", "silu"},
          {"hidden_size", 896},
          {"intermediate_size", 4864},
          {"max_position_embeddings", 32768},
          {"max_window_layers", 21},
          {"model_type", "qwen2"},
          {"num_attention_heads", 14},
          {"num_hidden_layers", 24},
          {"num_key_value_heads", 2},
          {"rms_norm_eps", 1e-06},
          {"rope_theta", 1000000.0},
          {"sliding_window", 32768},
          {"tie_word_embeddings", true},
          {"use_sliding_window", false},
          {"vocab_size", 151936}};
}

TEST_F(ModelConfigTest, ReadsQwen2InTheFormOfTransformers4) {
  const ModelConfig config = Load(Qwen2()).value();
  EXPECT_EQ(config.Layout(), (KvLayout{24, 2, 64}));
  EXPECT_EQ(config.hidden_size, 896);
  EXPECT_EQ(config.num_heads, 14);
  EXPECT_EQ(config.rope_theta, 1e6);
  EXPECT_EQ(config.qkv_bias, ModelConfig::QkvBias::kPresent);
  EXPECT_EQ(config.qk_norm, ModelConfig::QkNorm::kNone);
  EXPECT_EQ(config.embedding, ModelConfig::Embedding::kTied);
  EXPECT_THAT(config.eos_ids, ElementsAre(151645));
}

TEST_F(ModelConfigTest, ReadsQwen3InTheFormOfTransformers5) {
  nlohmann::json json = Qwen2();
  json["architectures"] = {"Qwen3ForCausalLM"};
  json["head_dim"] = 128;
  json["attention_bias"] = false;
  json["layer_types"] = std::vector<std::string>(24, "full_attention");
  json["rope_scaling"] = nullptr;
  json.erase("rope_theta");
  json["rope_parameters"] = {{"rope_theta", 500000}, {"rope_type", "default"}};
  const ModelConfig config = Load(json).value();
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.rope_theta, 5e5);
  EXPECT_EQ(config.qkv_bias, ModelConfig::QkvBias::kNone);
  EXPECT_EQ(config.qk_norm, ModelConfig::QkNorm::kPerHead);
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
}

TEST_F(ModelConfigTest, WhatIsSavedLoadsBack) {
  for (const char* name : {"Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM"}) {
    nlohmann::json json = Qwen2();
    json["architectures"] = {name};
    json["head_dim"] = 32;
    json["tie_word_embeddings"] = false;
    const ModelConfig config = Load(json).value();
    const absl::Status saved = config.Save(folder_);
    ASSERT_TRUE(saved.ok()) << saved;
    const ModelConfig loaded = ModelConfig::Load(folder_).value();
    EXPECT_EQ(loaded.architecture, name);
    EXPECT_EQ(loaded.Layout(), config.Layout());
    EXPECT_EQ(loaded.hidden_size, config.hidden_size);
    EXPECT_EQ(loaded.intermediate_size, config.intermediate_size);
    EXPECT_EQ(loaded.num_heads, config.num_heads);
    EXPECT_EQ(loaded.vocab_size, config.vocab_size);
    EXPECT_EQ(loaded.max_positions, config.max_positions);
    EXPECT_EQ(loaded.rope_theta, config.rope_theta);
    EXPECT_EQ(loaded.rms_norm_eps, config.rms_norm_eps);
    EXPECT_EQ(loaded.embedding, config.embedding);
    EXPECT_EQ(loaded.eos_ids, config.eos_ids);
  }
}

struct Fault {
  const char* field;
  nlohmann::json value;  // null: the field is taken away
};

TEST_F(ModelConfigTest, AWrongFieldIsRefusedByName) {
  const Fault faults[] = {
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
  for (const Fault& fault : faults) {
    nlohmann::json json = Qwen2();
    json.erase(fault.field);
    if (!fault.value.is_null()) json[fault.field] = fault.value;
    const absl::Status status = Load(json).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << json;
    EXPECT_THAT(std::string(status.message()), HasSubstr("config.json")) << json;
    EXPECT_THAT(std::string(status.message()), HasSubstr(fault.field)) << json;
    EXPECT_THAT(std::string(status.message()), HasSubstr("expected")) << json;
  }
}

TEST_F(ModelConfigTest, RopeScalingThatIsNotCarriedOutIsRefused) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    nlohmann::json json = Qwen2();
    json[key] = {{"rope_type", "llama3"}, {"factor", 32.0}};
    EXPECT_THAT(std::string(Load(json).status().message()),
                HasSubstr("rope_type is \"llama3\": expected \"default\""));
  }
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
