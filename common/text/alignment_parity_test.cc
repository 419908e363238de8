// Alignments between the tokenizers of different models against tests/parity/text_alignment.py, an
// implementation on transformers, whose results lie in the folder that QC2C_TEXT_FIXTURES names.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "common/text/alignment.h"
#include "common/text/chat_alignment.h"
#include "common/text/text_files.h"
#include "common/text/token_map.h"

namespace qc2c {
namespace {

using Json = nlohmann::json;

// A model folder, built from its files' contents, as a receiver builds its sharer's.
struct Model {
  Tokenizer tokenizer;
  SpecialIds special;
  ChatTemplate chat_template;

  static absl::StatusOr<Model> Load(const std::filesystem::path& folder) {
    const auto files = TextFiles::Load(folder);
    if (!files.ok()) return files.status();
    auto tokenizer = Tokenizer::FromJson(files->tokenizer_json, folder.string());
    if (!tokenizer.ok()) return tokenizer.status();
    const auto names = ReadSpecialTokens(*files);
    if (!names.ok()) return names.status();
    auto chat_template = ChatTemplate::FromFiles(*files);
    if (!chat_template.ok()) return chat_template.status();
    SpecialIds special = SpecialIds::Of(*names, *tokenizer);
    return Model{*std::move(tokenizer), std::move(special), *std::move(chat_template)};
  }

  Vocabulary vocabulary() const { return {&tokenizer, special}; }
  ChatReader reader() const { return {&tokenizer, &chat_template}; }
};

// One side of a chat that Python padded.
struct Slots {
  std::vector<int32_t> ids;
  std::vector<uint32_t> slots;
};

Slots WithoutPads(const Json& chat, const std::string& side) {
  Slots real;
  for (size_t slot = 0; slot < chat[side + "_ids"].size(); ++slot) {
    if (chat[side + "_pad"][slot].get<bool>()) continue;
    real.ids.push_back(chat[side + "_ids"][slot]);
    real.slots.push_back(static_cast<uint32_t>(slot));
  }
  return real;
}

class AlignmentParity : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const char* fixtures = std::getenv("QC2C_TEXT_FIXTURES");
    if (fixtures == nullptr) {
      GTEST_SKIP() << "QC2C_TEXT_FIXTURES is not set: run this through ctest";
    }
    const std::filesystem::path folder = fixtures;
    const std::filesystem::path path = folder / ("alignment_" + std::string(GetParam()) + ".json");
    if (!std::filesystem::exists(path)) {
      GTEST_SKIP() << "no data for " << GetParam() << ": set QC2C_SHARED_DATA and QC2C_MODELS";
    }
    std::ifstream(path) >> expected_;
    receiver_ = Model::Load(folder / expected_["receiver"].get<std::string>());
    sharer_ = Model::Load(folder / expected_["sharer"].get<std::string>());
    ASSERT_TRUE(receiver_.ok()) << receiver_.status();
    ASSERT_TRUE(sharer_.ok()) << sharer_.status();
    first_ = Map(AlignmentStrategy::kFirst);
    longest_ = Map(AlignmentStrategy::kLongest);
  }

  std::optional<TokenMap> Map(AlignmentStrategy strategy) {
    auto map = TokenMap::Create(receiver_->vocabulary(), sharer_->vocabulary(), strategy);
    EXPECT_TRUE(map.ok()) << map.status();
    return *std::move(map);
  }

  Json expected_;
  absl::StatusOr<Model> receiver_;
  absl::StatusOr<Model> sharer_;
  std::optional<TokenMap> first_;
  std::optional<TokenMap> longest_;
};

TEST_P(AlignmentParity, FirstAndLongestMapTokensAsPython) {
  ASSERT_GT(expected_["map"].size(), 250u);
  for (const Json& row : expected_["map"]) {
    const int32_t id = row[0];
    SCOPED_TRACE(receiver_->tokenizer.IdToToken(id).value_or("?"));
    EXPECT_EQ(*first_->Map(id), row[1].get<int32_t>()) << id;
    EXPECT_EQ(*longest_->Map(id), row[2].get<int32_t>()) << id;
  }
}

TEST_P(AlignmentParity, SpansAreThoseOfTheDefinition) {
  ASSERT_GT(expected_["spans"].size(), 150u);
  for (const Json& test_case : expected_["spans"]) {
    const std::string text = test_case["text"];
    const std::string context = test_case["context"];
    SCOPED_TRACE(context + "|" + text);
    const auto encoded = receiver_->tokenizer.EncodeWithOffsets(text);
    ASSERT_TRUE(encoded.ok()) << encoded.status();
    const auto aligned =
        AlignSpans(text, encoded->offsets, sharer_->tokenizer, {.context = context});
    ASSERT_TRUE(aligned.ok()) << aligned.status();
    EXPECT_EQ(aligned->sharer_ids, test_case["sharer_ids"].get<std::vector<int32_t>>());
    EXPECT_EQ(aligned->sharer_token, test_case["sharer_token"].get<std::vector<int32_t>>());
  }
}

TEST_P(AlignmentParity, ChatsAreCutMappedAndPaddedAsPython) {
  size_t num_aligned = 0;
  for (const Json& test_case : expected_["chats"]) {
    SCOPED_TRACE(test_case["messages"].dump());
    std::vector<ChatMessage> messages;
    for (const Json& message : test_case["messages"]) {
      messages.push_back({message["role"], message["content"]});
    }
    const auto reply_prefix = test_case["reply_prefix"].get<std::string>();
    const auto chat = AlignChat(messages, receiver_->reader(), sharer_->reader(),
                                test_case["strategy"] == "first" ? *first_ : *longest_,
                                {.reply_prefix = reply_prefix});
    if (test_case.contains("error")) {
      EXPECT_EQ(chat.status().code(), absl::StatusCode::kInvalidArgument) << test_case["error"];
      continue;
    }
    ASSERT_TRUE(chat.ok()) << chat.status();
    const Slots receiver = WithoutPads(test_case, "receiver");
    const Slots sharer = WithoutPads(test_case, "sharer");
    EXPECT_EQ(chat->receiver_ids, receiver.ids);
    EXPECT_EQ(chat->receiver_slots, receiver.slots);
    EXPECT_EQ(chat->tokens.sharer_ids, sharer.ids);
    EXPECT_EQ(chat->sharer_slots, sharer.slots);
    const auto is_message = test_case["message"].get<std::vector<bool>>();
    EXPECT_EQ(chat->num_slots, is_message.size());
    ASSERT_EQ(chat->tokens.sharer_token.size(), receiver.slots.size());
    for (size_t i = 0; i < receiver.slots.size(); ++i) {
      const int32_t token = chat->tokens.sharer_token[i];
      EXPECT_EQ(token >= 0, is_message[receiver.slots[i]]) << i;
      if (token >= 0) {
        EXPECT_EQ(chat->sharer_slots[token], receiver.slots[i]);
      }
    }
    ++num_aligned;
  }
  EXPECT_GT(num_aligned, 10u);
}

std::string NameOfPair(const testing::TestParamInfo<const char*>& info) { return info.param; }

INSTANTIATE_TEST_SUITE_P(All, AlignmentParity,
                         testing::Values("embedded_to_tinyllama_small",
                                         "tinyllama_small_to_embedded", "qwen3_to_qwen2_5",
                                         "qwen3_to_llama3_2", "qwen3_to_tinyllama",
                                         "qwen3_to_gemma3_it", "smollm2_to_qwen2_5",
                                         "smollm2_to_gemma3_it", "tinyllama_to_smollm2"),
                         NameOfPair);

}  // namespace
}  // namespace qc2c
