#include "common/text/token_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "common/text/small_bpe.h"

namespace qc2c {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Tokenizer Make(const std::vector<std::string>& vocabulary, const std::vector<std::string>& merges,
               const std::vector<std::string>& special) {
  return *Tokenizer::FromJson(SmallBpe(vocabulary, merges, special).dump());
}

class TokenMapTest : public testing::Test {
 protected:
  int32_t Map(AlignmentStrategy strategy, int32_t id, const SpecialIds& receiver = {},
              const SpecialIds& sharer = {}) {
    const auto map = TokenMap::Create({&receiver_, receiver}, {&sharer_, sharer}, strategy);
    EXPECT_TRUE(map.ok()) << map.status();
    const auto mapped = map->Map(id);
    EXPECT_TRUE(mapped.ok()) << mapped.status();
    return mapped.value_or(-1);
  }

  const Tokenizer receiver_ =
      Make({"<unk>", "<s>", "</s>", "<x>", "a", "b", "c", "ab", "abc", "abcb", "<0xE4>", "▁"},
           {"a b", "ab c", "abc b"}, {"<s>", "</s>", "<x>"});
  const Tokenizer sharer_ = Make({"<none>", "<x>", "<bos>", "<eos>", "c", "b", "a", "bc", "cb",
                                  "<0xEF>", "<0xBF>", "<0xBD>", "▁"},
                                 {"b c", "c b"}, {"<x>", "<bos>", "<eos>"});
};

TEST_F(TokenMapTest, FirstTakesTheFirstTokenOfItsText) {
  EXPECT_EQ(Map(AlignmentStrategy::kFirst, 4), 6);  // a: one token
  EXPECT_EQ(Map(AlignmentStrategy::kFirst, 8), 6);  // abc: a|bc
}

TEST_F(TokenMapTest, LongestTakesTheOneWithMostCharactersAndTheFirstOfEquals) {
  EXPECT_EQ(Map(AlignmentStrategy::kLongest, 8), 7);  // abc: a|bc
  EXPECT_EQ(Map(AlignmentStrategy::kLongest, 7), 6);  // ab: a|b
  EXPECT_EQ(Map(AlignmentStrategy::kLongest, 9), 7);  // abcb: a|bc|b
}

// The receiver's byte E4 alone is U+FFFD, which the sharer writes in the bytes EF BF BD. Alone each
// of these is one U+FFFD as well.
TEST_F(TokenMapTest, PartOfACharacterBecomesTheReplacementCharacter) {
  EXPECT_EQ(Map(AlignmentStrategy::kFirst, 10), 9);
  EXPECT_EQ(Map(AlignmentStrategy::kLongest, 10), 9);
}

TEST_F(TokenMapTest, SpecialTokensGoByTheirPart) {
  const SpecialIds receiver{.bos = 1, .eos = 2, .all = {1, 2, 3}};
  const SpecialIds sharer{.bos = 2, .eos = 3, .pad = 12};
  EXPECT_EQ(Map(AlignmentStrategy::kFirst, 1, receiver, sharer), 2);
  // The receiver's pad is its eos; the row of eos goes before that of pad.
  EXPECT_EQ(Map(AlignmentStrategy::kFirst, 2, receiver, sharer), 3);
}

TEST_F(TokenMapTest, SpecialTokenWithoutAPartGoesByItsSpelling) {
  EXPECT_EQ(Map(AlignmentStrategy::kFirst, 3, {.all = {3}}), 1);
  // "<s>" is no token of the sharer: its unk, or 0; it is not encoded.
  EXPECT_EQ(Map(AlignmentStrategy::kFirst, 1, {.all = {1}}), 0);
  EXPECT_EQ(Map(AlignmentStrategy::kFirst, 1, {.all = {1}}, {.unk = 5}), 5);
  // A part that the sharer lacks is as none.
  EXPECT_EQ(Map(AlignmentStrategy::kFirst, 3, {.bos = 3, .all = {3}}), 1);
}

TEST_F(TokenMapTest, TextWithoutTokensIsUnknown) {
  EXPECT_EQ(Map(AlignmentStrategy::kFirst, 999), 0);
  EXPECT_EQ(Map(AlignmentStrategy::kFirst, 999, {}, {.unk = 5}), 5);
  EXPECT_EQ(Map(AlignmentStrategy::kLongest, 11), 0);  // "▁" alone is stripped to nothing
}

TEST_F(TokenMapTest, AlignsEachTokenWithTheOneOfItsPlaceFromManyThreads) {
  const auto map = TokenMap::Create({&receiver_, {}}, {&sharer_, {}}, AlignmentStrategy::kLongest);
  ASSERT_TRUE(map.ok()) << map.status();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const auto aligned = map->Align({8, 4, 8});
      ASSERT_TRUE(aligned.ok()) << aligned.status();
      EXPECT_THAT(aligned->sharer_ids, ElementsAre(7, 6, 7));
      EXPECT_THAT(aligned->sharer_token, ElementsAre(0, 1, 2));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(TokenMapTest, NegativeIdsAndStrategiesThatMapNoTokensAreRefused) {
  const auto map = TokenMap::Create({&receiver_, {}}, {&sharer_, {}}, AlignmentStrategy::kFirst);
  EXPECT_EQ(map->Align({4, -1}).status().code(), absl::StatusCode::kInvalidArgument);
  const auto span = TokenMap::Create({&receiver_, {}}, {&sharer_, {}}, AlignmentStrategy::kSpan);
  EXPECT_EQ(span.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(span.status().message()), HasSubstr("span"));
}

}  // namespace
}  // namespace qc2c
