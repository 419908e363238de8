#include "common/text/chat_alignment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "common/text/small_bpe.h"

namespace qc2c {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ChatTemplate Template(const std::string& source) {
  return *ChatTemplate::FromFiles({.chat_template_jinja = source});
}

// Both vocabularies are letters and "<"; the sharer's has other ids and reads "ab" as one token.
class AlignChatTest : public testing::Test {
 protected:
  absl::StatusOr<AlignedChat> Align(const std::vector<ChatMessage>& messages,
                                    const ChatTemplate& receiver, const ChatTemplate& sharer,
                                    const SpecialIds& receiver_special = {.pad = 1},
                                    const SpecialIds& sharer_special = {.eos = 2}) {
    const Vocabulary ours{&receiver_, receiver_special};
    const Vocabulary theirs{&sharer_, sharer_special};
    const auto map = TokenMap::Create(ours, theirs, AlignmentStrategy::kFirst);
    EXPECT_TRUE(map.ok()) << map.status();
    return AlignChat(messages, {ours, &receiver}, {theirs, &sharer}, *map);
  }

  const Tokenizer receiver_ = *Tokenizer::FromJson(
      SmallBpe({"<unk>", "<pad>", "a", "b", "x", "y", "<", "ba"}, {"b a"}, {}).dump());
  const Tokenizer sharer_ = *Tokenizer::FromJson(
      SmallBpe({"<unk>", "<pad>", "</s>", "<", "y", "x", "b", "a", "ab"}, {"a b"}, {}).dump());
  const ChatTemplate long_front_ = Template("xxx{{ messages[0].content }}<x");
  const ChatTemplate long_end_ = Template("x{{ messages[0].content }}<xy");
};

TEST_F(AlignChatTest, MessageIsMappedAndTheShorterTemplateIsPadded) {
  const auto chat = Align({{"user", "ab"}}, long_front_, long_end_);
  ASSERT_TRUE(chat.ok()) << chat.status();
  // xxx | a b | <x pad
  EXPECT_THAT(chat->receiver_ids, ElementsAre(4, 4, 4, 2, 3, 6, 4, 1));
  EXPECT_THAT(chat->receiver_pad, ElementsAre(0, 0, 0, 0, 0, 0, 0, 1));
  // x pad pad | a b, not the sharer's own ab | <xy; its missing pad is its eos
  EXPECT_THAT(chat->tokens.sharer_ids, ElementsAre(5, 2, 2, 7, 6, 3, 5, 4));
  EXPECT_THAT(chat->sharer_pad, ElementsAre(0, 1, 1, 0, 0, 0, 0, 0));
  EXPECT_THAT(chat->tokens.sharer_token, ElementsAre(-1, -1, -1, 3, 4, -1, -1, -1));
}

TEST_F(AlignChatTest, TokenAcrossTheBorderBelongsToTheMessage) {
  const ChatTemplate sticky = Template("xb{{ messages[0].content }}<");
  const auto chat = Align({{"user", "ab"}}, sticky, sticky);  // receiver: x|ba|b|<
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_THAT(chat->receiver_ids, ElementsAre(4, 1, 7, 3, 6));  // its template: x, the sharer's: xb
  EXPECT_THAT(chat->tokens.sharer_ids, ElementsAre(5, 6, 6, 6, 3));
  EXPECT_THAT(chat->tokens.sharer_token, ElementsAre(-1, -1, 2, 3, -1));
}

TEST_F(AlignChatTest, MessageIsTakenWhereAMarkFollowsItAndInOrder) {
  const ChatTemplate turns =
      Template("x{% for m in messages %}a{{ m.role }}b{{ m.content }}<{% endfor %}");
  const auto chat = Align({{"y", "a"}, {"y", ""}, {"y", "a"}}, turns, turns);
  ASSERT_TRUE(chat.ok()) << chat.status();
  // x a y b [a] < a y b < a y b [a] <
  EXPECT_THAT(chat->tokens.sharer_token,
              ElementsAre(-1, -1, -1, -1, 4, -1, -1, -1, -1, -1, -1, -1, -1, 13, -1));
}

TEST_F(AlignChatTest, MessageWithoutAMarkIsTakenWhereItFirstStands) {
  const ChatTemplate plain = Template("xb{{ messages[0].content }}x");
  const auto chat = Align({{"user", "b"}}, plain, plain);
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_THAT(chat->tokens.sharer_token, ElementsAre(-1, 1, -1, -1));
}

TEST_F(AlignChatTest, NameOfBeginOfTextIsNoMessage) {
  const ChatTemplate llama = Template("<|begin_of_text|>x{{ messages[0].content }}x");
  const auto chat = Align({{"user", "text"}}, llama, llama);
  ASSERT_TRUE(chat.ok()) << chat.status();
  // < | b egin_of_te x t|> x [te x t] x, where letters that are no tokens are unknown together
  EXPECT_THAT(chat->tokens.sharer_token, ElementsAre(-1, -1, -1, -1, -1, -1, -1, 7, 8, 9, -1));
}

TEST_F(AlignChatTest, TextThatATemplateChangedIsRefusedByMessageAndModel) {
  const ChatTemplate trimmed = Template("x{{ messages[0].content | trim }}<x");
  const auto chat = Align({{"user", " a"}}, long_end_, trimmed);
  EXPECT_EQ(chat.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(chat.status().message()), HasSubstr("messages[0].content"));
  EXPECT_THAT(std::string(chat.status().message()), HasSubstr("the sharer's chat template"));
}

TEST_F(AlignChatTest, DifferentCutsAndMissingPadsAreRefused) {
  const ChatTemplate bare = Template("{{ messages[0].content }}<x");
  EXPECT_THAT(Align({{"user", "a"}}, long_front_, bare).status().ToString(),
              HasSubstr("the receiver's into template, message, template, "
                        "the sharer's into message, template"));
  EXPECT_THAT(Align({{"user", "a"}}, long_front_, long_end_, {.pad = 1}, {}).status().ToString(),
              HasSubstr("the sharer's prompt must be padded"));
}

TEST_F(AlignChatTest, RefusalOfATemplateIsPassedOn) {
  const ChatTemplate refuses = Template("{{ raise_exception('no') }}");
  EXPECT_EQ(Align({{"user", "a"}}, long_front_, refuses).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace qc2c
