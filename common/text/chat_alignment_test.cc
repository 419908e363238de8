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
                                    const ChatAlignmentOptions& options = {}) {
    const auto map = TokenMap::Create({&receiver_, {}}, {&sharer_, {}}, AlignmentStrategy::kFirst);
    EXPECT_TRUE(map.ok()) << map.status();
    return AlignChat(messages, {&receiver_, &receiver}, {&sharer_, &sharer}, *map, options);
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
  EXPECT_THAT(chat->receiver_ids, ElementsAre(4, 4, 4, 2, 3, 6, 4));
  EXPECT_THAT(chat->receiver_slots, ElementsAre(0, 1, 2, 3, 4, 5, 6));
  // x pad pad | a b, not the sharer's own ab | <xy
  EXPECT_THAT(chat->tokens.sharer_ids, ElementsAre(5, 7, 6, 3, 5, 4));
  EXPECT_THAT(chat->sharer_slots, ElementsAre(0, 3, 4, 5, 6, 7));
  EXPECT_THAT(chat->tokens.sharer_token, ElementsAre(-1, -1, -1, 1, 2, -1, -1));
  EXPECT_EQ(chat->num_slots, 8);
}

TEST_F(AlignChatTest, TheReceiverIsPaddedBetweenItsTemplateAndTheMessage) {
  const auto chat = Align({{"user", "ab"}}, long_end_, long_front_);
  ASSERT_TRUE(chat.ok()) << chat.status();
  // x pad pad | a b | <xy
  EXPECT_THAT(chat->receiver_ids, ElementsAre(4, 2, 3, 6, 4, 5));
  EXPECT_THAT(chat->receiver_slots, ElementsAre(0, 3, 4, 5, 6, 7));
  EXPECT_THAT(chat->tokens.sharer_token, ElementsAre(-1, 3, 4, -1, -1, -1));
  EXPECT_EQ(chat->num_slots, 8);
}

// It is what the answer begins with, and the sharer reads it by way of the map, as a message.
TEST_F(AlignChatTest, TheReplyPrefixIsTheLastMessageAndTheTemplateBeforeItIsPadded) {
  const auto chat = Align({{"user", "ab"}}, long_front_, long_end_, {.reply_prefix = "ab"});
  ASSERT_TRUE(chat.ok()) << chat.status();
  // xxx | a b | <x pad | a b
  EXPECT_THAT(chat->receiver_ids, ElementsAre(4, 4, 4, 2, 3, 6, 4, 2, 3));
  EXPECT_THAT(chat->receiver_slots, ElementsAre(0, 1, 2, 3, 4, 5, 6, 8, 9));
  EXPECT_THAT(chat->tokens.sharer_ids, ElementsAre(5, 7, 6, 3, 5, 4, 7, 6));
  EXPECT_THAT(chat->tokens.sharer_token, ElementsAre(-1, -1, -1, 1, 2, -1, -1, 6, 7));
  EXPECT_EQ(chat->num_slots, 10);
  const ChatTemplate without = Template("x<{{ messages[0].role }}x");
  EXPECT_EQ(Align({{"y", "ab"}}, without, without, {.reply_prefix = "ab"}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(AlignChatTest, BothTemplatesAreToldWhetherTheModelThinks) {
  const ChatTemplate thinks =
      Template("x{{ messages[0].content }}<{% if enable_thinking %}y{% endif %}");
  const ChatTemplate plain = Template("x{{ messages[0].content }}<");
  EXPECT_EQ(Align({{"user", "a"}}, thinks, plain)->receiver_ids.size(), 3u);
  EXPECT_EQ(Align({{"user", "a"}}, thinks, plain, {.enable_thinking = true})->receiver_ids.size(),
            4u);
}

TEST_F(AlignChatTest, TokenAcrossTheBorderBelongsToTheMessage) {
  const ChatTemplate sticky = Template("xb{{ messages[0].content }}<");
  const auto chat = Align({{"user", "ab"}}, sticky, sticky);  // receiver: x|ba|b|<
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_THAT(chat->receiver_ids, ElementsAre(4, 7, 3, 6));  // its template: x, the sharer's: xb
  EXPECT_THAT(chat->receiver_slots, ElementsAre(0, 2, 3, 4));
  EXPECT_THAT(chat->tokens.sharer_ids, ElementsAre(5, 6, 6, 6, 3));
  EXPECT_THAT(chat->sharer_slots, ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(chat->tokens.sharer_token, ElementsAre(-1, 2, 3, -1));
}

TEST_F(AlignChatTest, MessageIsTakenWhereAMarkFollowsItAndInOrder) {
  const ChatTemplate turns =
      Template("x{% for m in messages %}a{{ m.role }}b{{ m.content }}<{% endfor %}");
  const auto chat = Align({{"y", "a"}, {"y", ""}, {"y", "a"}}, turns, turns);
  ASSERT_TRUE(chat.ok()) << chat.status();
  // The receiver's x a y [ba] < a y b < a y [ba] <, the sharer's x a y b [b] < a y b < a y b [b] <
  EXPECT_THAT(chat->tokens.sharer_token,
              ElementsAre(-1, -1, -1, 4, -1, -1, -1, -1, -1, -1, -1, 13, -1));
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

TEST_F(AlignChatTest, DifferentCutsAreRefused) {
  const ChatTemplate bare = Template("{{ messages[0].content }}<x");
  EXPECT_THAT(Align({{"user", "a"}}, long_front_, bare).status().ToString(),
              HasSubstr("the receiver's into template, message, template, "
                        "the sharer's into message, template"));
}

TEST_F(AlignChatTest, RefusalOfATemplateIsPassedOn) {
  const ChatTemplate refuses = Template("{{ raise_exception('no') }}");
  EXPECT_EQ(Align({{"user", "a"}}, long_front_, refuses).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace qc2c
