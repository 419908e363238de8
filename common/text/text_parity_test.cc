// Ids, offsets, decoded texts and rendered chats against the Python libraries' own, which
// tests/parity/text_expected.py wrote into the folder that QC2C_TEXT_FIXTURES names.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/text/chat_template.h"
#include "common/text/tokenizer.h"

namespace qc2c {
namespace {

using Json = nlohmann::json;

// The fixture folder, or empty if this run has none.
std::filesystem::path Fixtures() {
  const char* folder = std::getenv("QC2C_TEXT_FIXTURES");
  return folder == nullptr ? "" : folder;
}

class Parity : public testing::TestWithParam<const char*> {
 protected:
  // Finds the fixture of this parameter and reads what Python expects.
  void Open(const std::string& kind) {
    if (Fixtures().empty()) GTEST_SKIP() << "QC2C_TEXT_FIXTURES is not set: run this through ctest";
    folder_ = Fixtures() / (kind + "_" + GetParam());
    if (!std::filesystem::exists(folder_)) {
      GTEST_SKIP() << "no data for " << GetParam() << ": set QC2C_SHARED_DATA or QC2C_MODELS";
    }
    std::ifstream(folder_ / "expected.json") >> expected_;
  }

  std::filesystem::path folder_;
  Json expected_;
};

class TokenizerParity : public Parity {
  void SetUp() override { Open("tokenizer"); }
};

class TemplateParity : public Parity {
  void SetUp() override { Open("template"); }
};

std::vector<EncodedText::Range> Ranges(const Json& pairs) {
  std::vector<EncodedText::Range> ranges;
  for (const Json& pair : pairs) ranges.push_back({pair[0], pair[1]});
  return ranges;
}

TEST_P(TokenizerParity, EncodesAsPython) {
  const auto tokenizer = Tokenizer::Load(folder_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  ASSERT_GT(expected_["cases"].size(), 1000u);
  for (const Json& test_case : expected_["cases"]) {
    const std::string text = test_case["text"];
    SCOPED_TRACE(text.substr(0, 80));
    const std::vector<int32_t> ids = test_case["ids"];
    EXPECT_EQ(*tokenizer->Encode(text), ids);
    EXPECT_EQ(*tokenizer->Encode(text, SpecialTokens::kAdd),
              test_case["ids_with_special"].get<std::vector<int32_t>>());
    const auto encoded = tokenizer->EncodeWithOffsets(text);
    ASSERT_TRUE(encoded.ok()) << encoded.status();
    EXPECT_EQ(encoded->ids, ids);
    EXPECT_EQ(encoded->offsets, Ranges(test_case["offsets"]));
  }
}

TEST_P(TokenizerParity, DecodesAsPythonAndStreamsTheSame) {
  const auto tokenizer = Tokenizer::Load(folder_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  for (const Json& test_case : expected_["cases"]) {
    SCOPED_TRACE(test_case["text"].get<std::string>().substr(0, 80));
    const std::vector<int32_t> ids = test_case["ids"];
    for (const auto& [special, field] : {std::pair{DecodeSpecial::kKeep, "decoded"},
                                         std::pair{DecodeSpecial::kSkip, "decoded_skip"}}) {
      const std::string expected = test_case[field];
      EXPECT_EQ(*tokenizer->Decode(ids, special), expected);
      StreamDecoder stream(*tokenizer, special);
      std::string streamed;
      for (const int32_t id : ids) streamed += *stream.Push(id);
      streamed += stream.Finish();
      EXPECT_EQ(streamed, expected);
    }
  }
}

TEST_P(TokenizerParity, NamesTokensAsPython) {
  const auto tokenizer = Tokenizer::Load(folder_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(tokenizer->vocab_size(), expected_["vocab_size"]);
  for (const auto& [token, id] : expected_["tokens"].items()) {
    EXPECT_EQ(tokenizer->TokenToId(token), id.get<int32_t>());
    EXPECT_EQ(tokenizer->IdToToken(id), token);
  }
}

TEST_P(TemplateParity, RendersAndEncodesAsPython) {
  const auto chat_template = ChatTemplate::Load(folder_);
  ASSERT_TRUE(chat_template.ok()) << chat_template.status();
  const auto tokenizer = Tokenizer::Load(folder_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  size_t num_rendered = 0;
  for (const Json& render : expected_["renders"]) {
    SCOPED_TRACE(render["messages"].dump());
    std::vector<ChatMessage> messages;
    for (const Json& message : render["messages"]) {
      messages.push_back({message["role"], message["content"]});
    }
    RenderOptions options{.add_generation_prompt = render["add_generation_prompt"]};
    if (render.contains("enable_thinking")) options.enable_thinking = render["enable_thinking"];
    const auto text = chat_template->Render(messages, options);
    if (render.contains("error")) {
      EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
      continue;
    }
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_EQ(*text, render["text"].get<std::string>());
    if (render.contains("ids")) {
      EXPECT_EQ(*tokenizer->Encode(*text), render["ids"].get<std::vector<int32_t>>());
    }
    ++num_rendered;
  }
  EXPECT_GT(num_rendered, 200u);
}

std::string Name(const testing::TestParamInfo<const char*>& info) { return info.param; }

INSTANTIATE_TEST_SUITE_P(All, TokenizerParity,
                         testing::Values("small_byte_level", "small_byte_fallback", "embedded",
                                         "gpt2", "llama2", "llama3_0", "llama3_1", "qwen2_5",
                                         "qwen3", "smollm2", "gemma3", "smollm2_135m",
                                         "qwen2_5_coder"),
                         Name);
INSTANTIATE_TEST_SUITE_P(All, TemplateParity,
                         testing::Values("chatml", "list", "turns", "features", "crlf", "embedded",
                                         "qwen2_5", "qwen3", "smollm2", "llama3_0", "llama3_2",
                                         "tinyllama", "gemma3_it", "gemma3", "smollm2_135m",
                                         "qwen2_5_coder"),
                         Name);

}  // namespace
}  // namespace qc2c
