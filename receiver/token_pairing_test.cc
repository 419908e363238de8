#include "receiver/token_pairing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/files.h"
#include "receiver/served_receiver.h"

namespace qc2c {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Ids = std::vector<int32_t>;

TEST(ReadingOfTest, EachTokenTravelsOnceAndNothingAfterTheLastIsRead) {
  const SharerReading reading = ReadingOf({{70, 71, 72, 73, 74, 75}, {1, 1, -1, 4, 3}});
  EXPECT_THAT(reading.ids, ElementsAre(70, 71, 72, 73, 74));
  EXPECT_THAT(reading.tokens, ElementsAre(1u, 3u, 4u));
  EXPECT_THAT(reading.slots, ElementsAre(0, 0, -1, 2, 1));
  EXPECT_EQ(reading.num_wanted(), 3u);
}

TEST(ReadingOfTest, WhenAllAreWantedNoneIsNamed) {
  const SharerReading reading = ReadingOf(AlignSameIds({70, 71, 72}));
  EXPECT_THAT(reading.ids, ElementsAre(70, 71, 72));
  EXPECT_THAT(reading.tokens, IsEmpty());
  EXPECT_THAT(reading.slots, ElementsAre(0, 1, 2));
  EXPECT_EQ(reading.num_wanted(), 3u);
}

TEST(PairFromTheEndTest, TheLastTokensMeetAndWhatIsLeftTakesNone) {
  EXPECT_THAT(PairFromTheEnd({0, 1, 2}, 5), ElementsAre(-1, -1, 0, 1, 2));
  EXPECT_THAT(PairFromTheEnd({0, 1, 1, 2}, 2), ElementsAre(1, 2));
  EXPECT_THAT(PairFromTheEnd({}, 2), ElementsAre(-1, -1));
}

TEST(CheckSharerIdsTest, WhatTheSharerCannotReadIsNamed) {
  v1::ModelCard sharer;
  sharer.set_model("small");
  sharer.set_vocab_size(100);
  sharer.set_max_positions(4);
  EXPECT_TRUE(CheckSharerIds({0, 99}, sharer).ok());
  const auto refusal = [&](const Ids& ids) {
    const absl::Status status = CheckSharerIds(ids, sharer);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(refusal({}), HasSubstr("no sharer token"));
  EXPECT_THAT(refusal({5, 100}), AllOf(HasSubstr("token 1 for the sharer has id 100"),
                                       HasSubstr("'small' has 100 tokens")));
  EXPECT_THAT(refusal({1, 2, 3, 4, 5}), AllOf(HasSubstr("5 tokens"), HasSubstr("4 positions")));
}

class TokenPairingTest : public testing::Test {
 protected:
  static v1::ModelCard SharerCard() { return EmbeddedSharer().Card(); }
  static TokenPairing Create(AlignmentStrategy strategy) {
    return TokenPairing::Create(EmbeddedReceiver(), SharerCard(), strategy).value();
  }

  const v1::Prompt prompt_ = UserPrompt(kQuestion, "Answer:");
  const Ids ids_ = EmbeddedReceiver().Tokenize(prompt_, 0).value();
  const Ids all_but_last_ = {ids_.begin(), ids_.end() - 1};
};

TEST_F(TokenPairingTest, WithOneTokenizerBothStrategiesAskForTheReceiversIds) {
  for (const auto strategy : {AlignmentStrategy::kSameIds, AlignmentStrategy::kSpan}) {
    const SharerReading reading = Create(strategy).Pair(prompt_, ids_, "").value();
    EXPECT_EQ(reading.ids, all_but_last_);
    EXPECT_THAT(reading.tokens, IsEmpty());
  }
}

TEST_F(TokenPairingTest, TokenByTokenOneTokenizerMapsEachTokenToItself) {
  const std::string context = "The city is Boston.\n";
  for (const auto strategy : {AlignmentStrategy::kFirst, AlignmentStrategy::kLongest}) {
    const TokenPairing pairing = Create(strategy);
    EXPECT_EQ(pairing.Pair(prompt_, ids_, "").value().ids, all_but_last_);
    Ids with_context = EmbeddedReceiver().tokenizer.Encode(context).value();
    with_context.insert(with_context.end(), all_but_last_.begin(), all_but_last_.end());
    const SharerReading reading = pairing.Pair(prompt_, ids_, context).value();
    EXPECT_EQ(reading.ids, with_context);
    EXPECT_EQ(reading.tokens.size(), all_but_last_.size());
  }
}

TEST_F(TokenPairingTest, AContextIsReadAndNeverWanted) {
  const std::string context = "The city is Boston.\n";
  const Ids context_ids = EmbeddedReceiver().tokenizer.Encode(context).value();
  for (const auto strategy : {AlignmentStrategy::kSameIds, AlignmentStrategy::kSpan}) {
    const SharerReading reading = Create(strategy).Pair(prompt_, ids_, context).value();
    Ids expected = context_ids;
    expected.insert(expected.end(), all_but_last_.begin(), all_but_last_.end());
    EXPECT_EQ(reading.ids, expected);
    ASSERT_EQ(reading.tokens.size(), all_but_last_.size());
    EXPECT_EQ(reading.tokens.front(), context_ids.size());
    EXPECT_EQ(reading.tokens.back(), expected.size() - 1);
    for (size_t i = 0; i < reading.slots.size(); ++i)
      EXPECT_EQ(reading.slots[i], static_cast<int32_t>(i));
  }
}

TEST_F(TokenPairingTest, AnotherTokenizersFileMustBeThereAndBeTheOneOfItsHash) {
  v1::ModelCard sharer = SharerCard();
  sharer.set_tokenizer_hash(sharer.tokenizer_hash() + 1);
  const auto refusal = [&] {
    return TokenPairing::Create(EmbeddedReceiver(), sharer, AlignmentStrategy::kSpan).status();
  };
  EXPECT_EQ(refusal().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refusal().message()), HasSubstr("tokenizer_json is absent"));
  sharer.set_tokenizer_json("{");
  EXPECT_EQ(refusal().code(), absl::StatusCode::kDataLoss);
  sharer.set_tokenizer_json(ReadFile(EmbeddedSharer().folder / "tokenizer.json").value());
  EXPECT_EQ(refusal().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(refusal().message()), HasSubstr("has hash"));
}

}  // namespace
}  // namespace qc2c
