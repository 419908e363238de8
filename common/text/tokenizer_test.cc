#include "common/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "common/base/files.h"
#include "common/base/hash.h"
#include "common/text/small_bpe.h"

namespace qc2c {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Json = nlohmann::json;

// A vocabulary small enough to encode by hand: "▁", a-d, a few bytes, and the merges ab and ▁c.
Json HandMade() {
  Json json = SmallBpe(
      {"<unk>", "<s>", "▁", "a", "b", "c", "d", "ab", "▁c", "<0xE4>", "<0xBD>", "<0xA0>", "<0xFF>"},
      {"a b", "▁ c"}, {"<s>"});
  json["truncation"] = {
      {"direction", "Right"}, {"max_length", 2}, {"strategy", "LongestFirst"}, {"stride", 0}};
  json["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single",
       {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
        {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
      {"pair", Json::array()},
      {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {1}}, {"tokens", {"<s>"}}}}}}};
  return json;
}

class TokenizerTest : public testing::Test {
 protected:
  absl::StatusOr<Tokenizer> Load(const std::string& json) {
    EXPECT_TRUE(WriteFileAtomically(folder_ / "tokenizer.json", json).ok());
    return Tokenizer::Load(folder_);
  }

  const std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) /
      testing::UnitTest::GetInstance()->current_test_info()->name();
  absl::StatusOr<Tokenizer> tokenizer_ = Load(HandMade().dump());
};

TEST_F(TokenizerTest, EncodesByMergesAndNamesTheBytesOfEachToken) {
  const auto encoded = tokenizer_->EncodeWithOffsets("ab cd");
  ASSERT_TRUE(encoded.ok()) << encoded.status();
  EXPECT_THAT(encoded->ids, ElementsAre(7, 8, 6));
  using Range = EncodedText::Range;
  EXPECT_THAT(encoded->offsets, ElementsAre(Range{0, 2}, Range{2, 4}, Range{4, 5}));
}

TEST_F(TokenizerTest, BytesOfOneCharacterEachNameTheWholeCharacter) {
  const auto encoded = tokenizer_->EncodeWithOffsets("a\u4f60");
  ASSERT_TRUE(encoded.ok()) << encoded.status();
  EXPECT_THAT(encoded->ids, ElementsAre(3, 9, 10, 11));
  using Range = EncodedText::Range;
  EXPECT_THAT(encoded->offsets, ElementsAre(Range{0, 1}, Range{1, 4}, Range{1, 4}, Range{1, 4}));
}

// The file's truncation to two tokens is off, too.
TEST_F(TokenizerTest, AddsSpecialTokensOnlyWhenAskedAndReadsThoseInTheText) {
  EXPECT_THAT(*tokenizer_->Encode("aab"), ElementsAre(3, 7));
  EXPECT_THAT(*tokenizer_->Encode("aab", SpecialTokens::kAdd), ElementsAre(1, 3, 7));
  EXPECT_THAT(*tokenizer_->Encode("a<s>b"), ElementsAre(3, 1, 4));
  EXPECT_THAT(*tokenizer_->Encode(""), IsEmpty());
  EXPECT_THAT(*tokenizer_->Encode("", SpecialTokens::kAdd), ElementsAre(1));
}

TEST_F(TokenizerTest, DecodesWithAndWithoutSpecialTokens) {
  EXPECT_EQ(*tokenizer_->Decode({1, 7, 8, 6}, DecodeSpecial::kKeep), "<s>ab cd");
  EXPECT_EQ(*tokenizer_->Decode({1, 7, 8, 6}), "ab cd");
  EXPECT_EQ(*tokenizer_->Decode({}), "");
  EXPECT_EQ(*tokenizer_->Decode({9, 10}), "\uFFFD\uFFFD");
  EXPECT_EQ(*tokenizer_->Decode({3, 999, 4}), "ab");
}

TEST_F(TokenizerTest, RefusesANegativeId) {
  const auto text = tokenizer_->Decode({3, -1});
  EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(text.status().message()), HasSubstr("ids[1] is -1"));
}

TEST_F(TokenizerTest, RefusesTextThatIsNotUtf8AndSaysWhere) {
  const auto ids = tokenizer_->Encode("ab\xff");
  EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(ids.status().message()), HasSubstr("first bad byte at 2"));
}

TEST_F(TokenizerTest, NamesTokens) {
  EXPECT_EQ(tokenizer_->vocab_size(), 13u);
  EXPECT_EQ(tokenizer_->TokenToId("▁c"), 8);
  EXPECT_EQ(tokenizer_->TokenToId("zz"), std::nullopt);
  EXPECT_EQ(tokenizer_->TokenToId("\xff"), std::nullopt);
  EXPECT_EQ(tokenizer_->IdToToken(9), "<0xE4>");
  EXPECT_EQ(tokenizer_->IdToToken(13), std::nullopt);
  EXPECT_EQ(tokenizer_->IdToToken(-1), std::nullopt);
}

TEST_F(TokenizerTest, HashIsTheFilesHash) {
  EXPECT_EQ(tokenizer_->hash(), *HashFiles({folder_ / "tokenizer.json"}));
  EXPECT_NE(tokenizer_->hash(), Load(HandMade().dump(2))->hash());
}

TEST_F(TokenizerTest, BytesOfAFileAreTheSameTokenizer) {
  const auto same = Tokenizer::FromJson(HandMade().dump());
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_EQ(same->hash(), tokenizer_->hash());
  EXPECT_THAT(*same->Encode("ab cd", SpecialTokens::kAdd), ElementsAre(1, 7, 8, 6));
  EXPECT_THAT(std::string(Tokenizer::FromJson("{", "sharer's tokenizer").status().message()),
              HasSubstr("sharer's tokenizer"));
}

TEST_F(TokenizerTest, EncodesTheSameFromManyThreads) {
  const std::vector<int32_t> expected = *tokenizer_->Encode("abcab dab");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 500; ++n) EXPECT_EQ(*tokenizer_->Encode("abcab dab"), expected);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(TokenizerTest, AFileThatIsNoTokenizerIsAnErrorNamingIt) {
  for (const std::string content :
       {"", "{", "[]", "{\"model\": {\"type\": \"Nope\"}}", "\xff\xfe"}) {
    const auto loaded = Load(content);
    EXPECT_EQ(loaded.status().code(), absl::StatusCode::kInvalidArgument) << content;
    EXPECT_THAT(std::string(loaded.status().message()), HasSubstr("tokenizer.json"));
  }
  EXPECT_EQ(Tokenizer::Load(folder_ / "absent").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(TokenizerTest, StreamHoldsBackACharacterUntilItIsCertain) {
  StreamDecoder stream(*tokenizer_);
  EXPECT_EQ(*stream.Push(8), "c");   // the space at the start is stripped
  EXPECT_EQ(*stream.Push(8), " c");  // and not in the middle
  EXPECT_EQ(*stream.Push(9), "");    // E4
  EXPECT_EQ(*stream.Push(10), "");   // BD
  EXPECT_EQ(*stream.Push(11), "");   // A0: a character, unless another byte follows
  EXPECT_EQ(*stream.Push(1), "");    // a skipped token settles nothing
  EXPECT_EQ(*stream.Push(3),
            "\u4f60"
            "a");
  EXPECT_EQ(stream.Finish(), "");
}

TEST_F(TokenizerTest, StreamOfAByteRunEqualsDecodingItWhole) {
  StreamDecoder stream(*tokenizer_);
  std::string text;
  for (const int32_t id : {9, 10, 11, 12}) text += *stream.Push(id);
  text += stream.Finish();
  EXPECT_EQ(text, *tokenizer_->Decode({9, 10, 11, 12}));
}

TEST_F(TokenizerTest, StreamFinishesAnIncompleteCharacterAndStartsAnew) {
  StreamDecoder stream(*tokenizer_, DecodeSpecial::kKeep);
  EXPECT_EQ(*stream.Push(1), "<s>");
  EXPECT_EQ(*stream.Push(9), "");
  EXPECT_FALSE(stream.Push(-5).ok());
  EXPECT_EQ(stream.Finish(), "\uFFFD");
  EXPECT_EQ(*stream.Push(8), "c");
}

}  // namespace
}  // namespace qc2c
