#include "receiver/token_pairing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "common/base/files.h"
#include "common/text/text_files.h"
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

TEST(ReadingOfTest, PositionsAreThoseOfWhatIsReadAndOfWhatIsWanted) {
  const SharerReading reading = ReadingOf({{70, 71, 72, 73}, {-1, 2, 1}}, {0, 1, 5, 6});
  EXPECT_THAT(reading.ids, ElementsAre(70, 71, 72));
  EXPECT_THAT(reading.positions, ElementsAre(0u, 1u, 5u));
  EXPECT_THAT(reading.tokens, ElementsAre(1u, 2u));
  EXPECT_THAT(reading.token_positions, ElementsAre(1u, 5u));
  // Behind the last wanted token a gap is of no account.
  const SharerReading front = ReadingOf({{70, 71, 72, 73}, {1, 0}}, {0, 1, 5, 6});
  EXPECT_THAT(front.positions, IsEmpty());
  EXPECT_THAT(front.token_positions, IsEmpty());
  EXPECT_THAT(ReadingOf({{70, 71, 72}, {1, 2}}).token_positions, ElementsAre(1u, 2u));
}

TEST(PairFromTheEndTest, TheLastTokensMeetAndWhatIsLeftTakesNone) {
  EXPECT_THAT(PairFromTheEnd({0, 1, 2}, {0, 1, 2, 3, 4}), ElementsAre(-1, -1, 0, 1, 2));
  EXPECT_THAT(PairFromTheEnd({0, 1, 1, 2}, {0, 1}), ElementsAre(1, 2));
  EXPECT_THAT(PairFromTheEnd({}, {0, 1}), ElementsAre(-1, -1));
}

TEST(PairFromTheEndTest, TokensThatTakeNoneAreLeftOutOnBothSides) {
  EXPECT_THAT(PairFromTheEnd({-1, 0, 1, -1, 2}, {-1, 0, -1, 1}), ElementsAre(-1, 1, -1, 2));
  EXPECT_THAT(PairFromTheEnd({-1, -1, 5}, {0, -1, 1}), ElementsAre(-1, -1, 5));
}

TEST(CheckSharerReadsTest, WhatTheSharerCannotReadIsNamed) {
  v1::ModelCard sharer;
  sharer.set_model("small");
  sharer.set_vocab_size(100);
  sharer.set_max_positions(4);
  EXPECT_TRUE(CheckSharerReads({.ids = {0, 99}, .positions = {0, 3}}, sharer).ok());
  const auto refusal = [&](const Ids& ids, const std::vector<uint32_t>& positions = {}) {
    const absl::Status status = CheckSharerReads({.ids = ids, .positions = positions}, sharer);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(refusal({}), HasSubstr("no sharer token"));
  EXPECT_THAT(refusal({5, 100}), AllOf(HasSubstr("token 1 for the sharer has id 100"),
                                       HasSubstr("'small' has 100 tokens")));
  EXPECT_THAT(refusal({1, 2, 3, 4, 5}), AllOf(HasSubstr("5 tokens"), HasSubstr("4 positions")));
  EXPECT_THAT(refusal({1, 2}, {0, 4}),
              AllOf(HasSubstr("2 tokens at up to 5 positions"), HasSubstr("has 4 positions")));
}

class TokenPairingTest : public testing::Test {
 protected:
  static v1::ModelCard SharerCard() {
    v1::ModelCard card = EmbeddedSharer().Card();
    const TextFiles files = TextFiles::Load(EmbeddedSharer().folder).value();
    card.set_tokenizer_config_json(files.tokenizer_config_json);
    card.set_chat_template_jinja(files.chat_template_jinja);
    return card;
  }
  static TokenPairing Create(AlignmentStrategy strategy) {
    return TokenPairing::Create(EmbeddedReceiver(), SharerCard(), strategy).value();
  }

  const v1::Prompt prompt_ = UserPrompt(kQuestion, "Answer:");
  const Ids ids_ = EmbeddedReceiver().Tokenize(prompt_, 0).value();
  const Ids all_but_last_ = {ids_.begin(), ids_.end() - 1};
};

TEST_F(TokenPairingTest, WithOneTokenizerBothStrategiesAskForTheReceiversIds) {
  for (const auto strategy : {AlignmentStrategy::kSameIds, AlignmentStrategy::kSpan}) {
    const PairedPrompt paired = Create(strategy).Pair(prompt_, ids_, "").value();
    EXPECT_EQ(paired.sharer.ids, all_but_last_);
    EXPECT_THAT(paired.sharer.tokens, IsEmpty());
    EXPECT_THAT(paired.sharer.positions, IsEmpty());
    EXPECT_EQ(paired.receiver, ReceiverReading());
  }
}

TEST_F(TokenPairingTest, OfPlainTextOneTokenizerMapsEachTokenToItself) {
  const std::string context = "The city is Boston.\n";
  v1::Prompt plain;
  plain.set_text(EmbeddedReceiver().Render(prompt_).value());
  for (const auto strategy : {AlignmentStrategy::kFirst, AlignmentStrategy::kLongest}) {
    const TokenPairing pairing = Create(strategy);
    EXPECT_EQ(pairing.Pair(plain, ids_, "").value().sharer.ids, all_but_last_);
    Ids with_context = EmbeddedReceiver().tokenizer.Encode(context).value();
    with_context.insert(with_context.end(), all_but_last_.begin(), all_but_last_.end());
    const PairedPrompt paired = pairing.Pair(plain, ids_, context).value();
    EXPECT_EQ(paired.sharer.ids, with_context);
    EXPECT_EQ(paired.sharer.tokens.size(), all_but_last_.size());
    EXPECT_EQ(paired.receiver, ReceiverReading());
  }
}

TEST_F(TokenPairingTest, AContextIsReadAndNeverWanted) {
  const std::string context = "The city is Boston.\n";
  const Ids context_ids = EmbeddedReceiver().tokenizer.Encode(context).value();
  for (const auto strategy : {AlignmentStrategy::kSameIds, AlignmentStrategy::kSpan}) {
    const SharerReading reading = Create(strategy).Pair(prompt_, ids_, context).value().sharer;
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

// The receiver's template is <|im_start|>ROLE\nTEXT<|im_end|>\n, then <|im_start|>assistant\n.
class ConversationPairingTest : public TokenPairingTest {
 protected:
  static Ids Encode(const std::string& text) {
    return EmbeddedReceiver().tokenizer.Encode(text).value();
  }
  // The sharer has the receiver's tokenizer and this template.
  static absl::StatusOr<PairedPrompt> Pair(const v1::Prompt& prompt,
                                           const std::string& sharer_template,
                                           const std::string& context = "") {
    v1::ModelCard card = SharerCard();
    if (!sharer_template.empty()) card.set_chat_template_jinja(sharer_template);
    const auto pairing =
        TokenPairing::Create(EmbeddedReceiver(), card, AlignmentStrategy::kLongest);
    EXPECT_TRUE(pairing.ok()) << pairing.status();
    return pairing->Pair(prompt, EmbeddedReceiver().Tokenize(prompt, 0).value(), context);
  }
  static std::vector<uint32_t> Range(size_t begin, size_t end) {
    std::vector<uint32_t> range(end - begin);
    std::iota(range.begin(), range.end(), static_cast<uint32_t>(begin));
    return range;
  }

  const Ids front_ = Encode("<|im_start|>user\n");
  const Ids message_ = Encode(kQuestion);
  const Ids end_ = Encode("<|im_end|>\n<|im_start|>assistant\n");
  const size_t message_end_ = front_.size() + message_.size();
};

TEST_F(ConversationPairingTest, WithOneTokenizerAndTemplateTheSharerReadsTheReceiversIds) {
  for (const char* reply_prefix : {"", "Answer:"}) {
    const PairedPrompt paired = Pair(UserPrompt(kQuestion, reply_prefix), "").value();
    EXPECT_EQ(paired.sharer.ids, Ids(ids_.begin(), ids_.begin() + message_end_));
    EXPECT_THAT(paired.sharer.positions, IsEmpty());
    EXPECT_EQ(paired.sharer.tokens, Range(front_.size(), message_end_));
    EXPECT_EQ(paired.sharer.token_positions, paired.sharer.tokens);
    EXPECT_THAT(paired.receiver.positions, IsEmpty());
    EXPECT_THAT(paired.receiver.fused_ends, ElementsAre(message_end_));
    std::vector<int32_t> slots(front_.size(), -1);
    for (size_t i = 0; i < message_.size(); ++i) slots.push_back(static_cast<int32_t>(i));
    EXPECT_EQ(paired.sharer.slots, slots);
  }
}

TEST_F(ConversationPairingTest, WhereTheSharersTemplateIsLongerTheReceiverLeavesPositionsOut) {
  const PairedPrompt paired =
      Pair(UserPrompt(kQuestion),
           "Be brief.\n<|im_start|>user\n{{ messages[0].content }}<|im_end|>")
          .value();
  const Ids sharer_front = Encode("Be brief.\n<|im_start|>user\n");
  const size_t gap = sharer_front.size() - front_.size();
  Ids expected = sharer_front;
  expected.insert(expected.end(), message_.begin(), message_.end());
  EXPECT_EQ(paired.sharer.ids, expected);
  EXPECT_THAT(paired.sharer.positions, IsEmpty());
  std::vector<uint32_t> positions = Range(0, front_.size());
  const std::vector<uint32_t> behind = Range(sharer_front.size(), gap + message_end_ + end_.size());
  positions.insert(positions.end(), behind.begin(), behind.end());
  EXPECT_EQ(paired.receiver.positions, positions);
  EXPECT_THAT(paired.receiver.fused_ends, ElementsAre(message_end_));
}

TEST_F(ConversationPairingTest, WhereTheSharersTemplateIsShorterItLeavesPositionsOut) {
  const PairedPrompt paired =
      Pair(UserPrompt(kQuestion), "{{ '\n' }}{{ messages[0].content }}<|im_end|>", "To wit: ")
          .value();
  const Ids context = Encode("To wit: ");
  const Ids sharer_front = Encode("\n");
  ASSERT_LT(sharer_front.size(), front_.size());
  Ids expected = context;
  expected.insert(expected.end(), sharer_front.begin(), sharer_front.end());
  const size_t first = expected.size();
  expected.insert(expected.end(), message_.begin(), message_.end());
  EXPECT_EQ(paired.sharer.ids, expected);
  EXPECT_EQ(paired.sharer.tokens, Range(first, expected.size()));
  // The message stands where the receiver's does, behind the context.
  const size_t place = context.size() + front_.size();
  const std::vector<uint32_t> wanted = Range(place, place + message_.size());
  EXPECT_EQ(paired.sharer.token_positions, wanted);
  std::vector<uint32_t> positions = Range(0, first);
  positions.insert(positions.end(), wanted.begin(), wanted.end());
  EXPECT_EQ(paired.sharer.positions, positions);
  EXPECT_THAT(paired.receiver.positions, IsEmpty());
}

TEST_F(ConversationPairingTest, EachMessageIsAPartOfItsOwn) {
  v1::Prompt prompt;
  for (const char* role : {"system", "user"}) {
    v1::ChatMessage& message = *prompt.add_messages();
    message.set_role(role);
    message.set_content(role == std::string("system") ? "Be brief." : kQuestion);
  }
  const PairedPrompt paired = Pair(prompt, "").value();
  const size_t first = Encode("<|im_start|>system\nBe brief.").size();
  const size_t second = first + Encode("<|im_end|>\n<|im_start|>user\n").size() + message_.size();
  EXPECT_THAT(paired.receiver.fused_ends, ElementsAre(first, second));
  EXPECT_EQ(paired.sharer.slots.size(), second);
  EXPECT_EQ(paired.sharer.num_wanted(), Encode("Be brief.").size() + message_.size());
}

TEST_F(ConversationPairingTest, AReceiverThatWouldAnswerFromAPadIsRefused) {
  const std::string longer =
      "<|im_start|>user\n{{ messages[0].content }}<|im_end|>\n<|im_start|>the "
      "assistant\n<|im_end|>";
  const absl::Status refused = Pair(UserPrompt(kQuestion), longer).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("ends in"), HasSubstr("fewer than that of 'sharer-qwen2'"),
                    HasSubstr("expected alignment span")));
  // The pads stand before the reply prefix then.
  const PairedPrompt paired = Pair(prompt_, longer).value();
  ASSERT_EQ(paired.receiver.positions.size(), ids_.size());
  EXPECT_EQ(paired.receiver.positions[message_end_ + end_.size() - 1],
            message_end_ + end_.size() - 1);
  EXPECT_GT(paired.receiver.positions[message_end_ + end_.size()], message_end_ + end_.size());
}

TEST_F(ConversationPairingTest, ASharerThatHidesItsTemplateIsRefused) {
  const absl::Status status =
      TokenPairing::Create(EmbeddedReceiver(), EmbeddedSharer().Card(), AlignmentStrategy::kFirst)
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("chat_template_jinja is absent"));
}

}  // namespace
}  // namespace qc2c
