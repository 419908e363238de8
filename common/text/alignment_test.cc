#include "common/text/alignment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "common/text/small_bpe.h"

namespace qc2c {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Range = EncodedText::Range;

TEST(AlignmentStrategyTest, NamesAreReadAndAnyOtherIsRefused) {
  for (const std::string name : {"same_ids", "first", "longest", "span"}) {
    const auto strategy = ParseAlignmentStrategy(name);
    ASSERT_TRUE(strategy.ok()) << strategy.status();
    EXPECT_EQ(AlignmentStrategyName(*strategy), name);
  }
  const auto prefix = ParseAlignmentStrategy("prefix");
  EXPECT_EQ(prefix.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(prefix.status().message()), HasSubstr("'prefix'"));
  EXPECT_THAT(std::string(prefix.status().message()), HasSubstr("same_ids, first, longest, span"));
}

TEST(AlignSameIdsTest, EachTokenTakesItself) {
  const AlignedTokens aligned = AlignSameIds({7, 7, 3});
  EXPECT_THAT(aligned.sharer_ids, ElementsAre(7, 7, 3));
  EXPECT_THAT(aligned.sharer_token, ElementsAre(0, 1, 2));
}

// Letters, "ab", "abc", the bytes of one Chinese character, and a special token.
class AlignSpansTest : public testing::Test {
 protected:
  absl::StatusOr<AlignedTokens> Align(const std::string& text, const std::vector<Range>& receiver,
                                      const SpanOptions& options = {}) {
    return AlignSpans(text, receiver, *sharer_, options);
  }

  const absl::StatusOr<Tokenizer> sharer_ =
      Tokenizer::FromJson(SmallBpe({"<unk>", "<s>", "▁", "a", "b", "c", "<", "s", ">", "ab", "abc",
                                    "<0xE4>", "<0xBD>", "<0xA0>"},
                                   {"a b", "ab c"}, {"<s>"})
                              .dump());
};

TEST_F(AlignSpansTest, TakesTheTokenThatEndsLastAtOrBeforeItsEnd) {
  // sharer: abc|▁|ab, ends 3 4 6; receiver: a|bc |a|b, ends 1 4 5 6
  const auto aligned = Align("abc ab", {{0, 1}, {1, 4}, {4, 5}, {5, 6}});
  ASSERT_TRUE(aligned.ok()) << aligned.status();
  EXPECT_THAT(aligned->sharer_ids, ElementsAre(10, 2, 9));
  // "a" ends before any sharer token: clamped at the first.
  EXPECT_THAT(aligned->sharer_token, ElementsAre(0, 1, 1, 2));
}

TEST_F(AlignSpansTest, ContextIsReadByTheSharerAloneAndPlacesCountFromTheText) {
  // sharer: a|▁|abc, ends -1 0 3 from where the text begins
  const auto aligned = Align("abc", {{0, 1}, {1, 3}}, {.context = "a "});
  ASSERT_TRUE(aligned.ok()) << aligned.status();
  EXPECT_THAT(aligned->sharer_ids, ElementsAre(3, 2, 10));
  EXPECT_THAT(aligned->sharer_token, ElementsAre(1, 2));
}

TEST_F(AlignSpansTest, TokenAcrossTheBorderOfContextAndTextBelongsToTheText) {
  // sharer: ab|a, the first across the border, ends 1 2
  const auto aligned = Align("ba", {{0, 1}, {1, 2}}, {.context = "a"});
  ASSERT_TRUE(aligned.ok()) << aligned.status();
  EXPECT_THAT(aligned->sharer_ids, ElementsAre(9, 3));
  EXPECT_THAT(aligned->sharer_token, ElementsAre(0, 1));
}

TEST_F(AlignSpansTest, TokensOfOneCharacterEndTogetherAndTheLastIsTaken) {
  // sharer: a and three bytes, ends 1 4 4 4; the receiver splits the character in two
  const auto aligned = Align("a\u4f60", {{0, 1}, {1, 4}, {1, 4}});
  ASSERT_TRUE(aligned.ok()) << aligned.status();
  EXPECT_THAT(aligned->sharer_ids, ElementsAre(3, 11, 12, 13));
  EXPECT_THAT(aligned->sharer_token, ElementsAre(0, 3, 3));
}

TEST_F(AlignSpansTest, SpecialTokenOfTheReceiverIsPlainTextToASharerWithoutIt) {
  // The receiver's "<a>" is one token, three of the sharer's; "<s>" is one of both.
  const auto aligned = Align("<a><s>b", {{0, 3}, {3, 6}, {6, 7}});
  ASSERT_TRUE(aligned.ok()) << aligned.status();
  EXPECT_THAT(aligned->sharer_ids, ElementsAre(6, 3, 8, 1, 4));
  EXPECT_THAT(aligned->sharer_token, ElementsAre(2, 3, 4));
}

TEST_F(AlignSpansTest, AddedTokensHaveNoPlaceInTheText) {
  auto json = SmallBpe({"<unk>", "<s>", "</s>", "a", "b"}, {}, {"<s>", "</s>"});
  const auto piece = [](const std::string& token) {
    return nlohmann::json{{"SpecialToken", {{"id", token}, {"type_id", 0}}}};
  };
  json["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", {piece("<s>"), {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}, piece("</s>")}},
      {"pair", nlohmann::json::array()},
      {"special_tokens",
       {{"<s>", {{"id", "<s>"}, {"ids", {1}}, {"tokens", {"<s>"}}}},
        {"</s>", {{"id", "</s>"}, {"ids", {2}}, {"tokens", {"</s>"}}}}}}};
  const auto sharer = Tokenizer::FromJson(json.dump());
  ASSERT_TRUE(sharer.ok()) << sharer.status();
  // The receiver's own BOS, an empty range, takes the sharer's.
  const auto aligned =
      AlignSpans("ab", {{0, 0}, {0, 1}, {1, 2}}, *sharer, {.special = SpecialTokens::kAdd});
  ASSERT_TRUE(aligned.ok()) << aligned.status();
  EXPECT_THAT(aligned->sharer_ids, ElementsAre(1, 3, 4, 2));
  EXPECT_THAT(aligned->sharer_token, ElementsAre(0, 1, 2));
}

TEST_F(AlignSpansTest, NothingToReadIsAnErrorOnlyIfAReceiverTokenNeedsIt) {
  EXPECT_THAT(Align("", {})->sharer_token, IsEmpty());
  EXPECT_EQ(Align("", {{0, 0}}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(AlignSpansTest, RangesOutsideTheTextAndTextThatIsNotUtf8AreRefused) {
  for (const Range range : {Range{0, 3}, Range{2, 1}}) {
    const auto aligned = Align("ab", {{0, 1}, range});
    EXPECT_EQ(aligned.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(aligned.status().message()), HasSubstr("receiver token 1"));
  }
  EXPECT_EQ(Align("a\xff", {{0, 1}}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Align("a", {{0, 1}}, {.context = "\xff"}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace qc2c
