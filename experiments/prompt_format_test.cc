#include "experiments/prompt_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/files.h"
#include "experiments/fake_receiver.h"
#include "experiments/project_files.h"

namespace qc2c {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PromptFormatTest : public testing::Test {
 protected:
  ~PromptFormatTest() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<PromptFormat> Load(const std::string& yaml) {
    EXPECT_TRUE(WriteFileAtomically(folder_ / "f.yaml", yaml).ok());
    return PromptFormat::Load(folder_ / "f.yaml");
  }

  const std::filesystem::path folder_ = FreshFolder();
  const Question question_{"id", "What is {choices}?", {{"A", "one"}, {"B", "{hint}"}}, "A"};
};

TEST_F(PromptFormatTest, FillsTemplatesOnceSoThatBracesInAQuestionStay) {
  const PromptFormat format = *Load(R"(
system: "Be brief."
user: "{question}\n{choices}"
choice: "({letter}) {text}"
reply_prefix: "Answer:"
)");
  const v1::Prompt prompt = format.PromptFor(question_);
  ASSERT_EQ(prompt.messages_size(), 2);
  EXPECT_EQ(prompt.messages(0).role(), "system");
  EXPECT_EQ(prompt.messages(1).role(), "user");
  EXPECT_EQ(prompt.messages(1).content(), "What is {choices}?\n(A) one\n(B) {hint}");
  EXPECT_EQ(prompt.reply_prefix(), "Answer:");
  EXPECT_THAT(format.OptionsFor(question_), ElementsAre(" A", " B"));
}

TEST_F(PromptFormatTest, LeavesTheHintToTheReceiver) {
  const PromptFormat format = *PromptFormat::Load(*PromptFormatPath("embedded_mc"));
  const Question question{"id", "Where?", {{"A", "Rome"}, {"B", "Paris"}}, "A"};
  EXPECT_EQ(format.RelaySharerPrompt(question).messages(0).content(), "Where?");
  EXPECT_EQ(format.RelaySharerPrompt(question).reply_prefix(), "");
  EXPECT_EQ(format.RelayReceiverPrompt(question).messages(0).content(),
            "Hint: {hint}\nWhere?\nA. Rome\nB. Paris");
  EXPECT_EQ(format.RelayReceiverPrompt(question).reply_prefix(), "Answer:");
}

TEST_F(PromptFormatTest, PlainTextHasNoMessagesAndOnlyTheSharerReadsTheFact) {
  const PromptFormat format = *PromptFormat::Load(*PromptFormatPath("fact_options"));
  Question question{"id", "Who flies?", {{"A", "a bee"}, {"B", "a cat"}}, "A"};
  question.fact = "bees fly";
  const v1::Prompt prompt = format.PromptFor(question);
  EXPECT_EQ(prompt.messages_size(), 0);
  EXPECT_EQ(prompt.text(), "Question: Who flies?\nA. a bee\nB. a cat\nAnswer:");
  EXPECT_EQ(format.ContextFor(question), "Fact: bees fly.\n");
  EXPECT_EQ(format.PromptWithContext(question).text(), "Fact: bees fly.\n" + prompt.text());
  EXPECT_THAT(format.OptionsFor(question), ElementsAre(" a bee", " a cat"));
  EXPECT_TRUE(format.NeedsFact());
  EXPECT_EQ(format.sharer_answer->max_new_tokens, 64);
}

TEST_F(PromptFormatTest, TheC2cPromptIsThatOfThePublicEvaluation) {
  const PromptFormat format = *PromptFormat::Load(*PromptFormatPath("c2c_mc"));
  const Question question{"id", "Who flies?", {{"A", "a bee"}, {"B", "a cat"}}, "A"};
  ASSERT_EQ(format.PromptFor(question).messages_size(), 1);
  EXPECT_EQ(
      format.PromptFor(question).messages(0).content(),
      "Accurately answer the following question:\n\nWho flies?\n\nChoices:\nA. a bee\nB. a cat\n"
      "\n\nInstructions:\n- Carefully read the question and all options.\n"
      "- Select the single most correct answer.\n"
      "- Respond ONLY in the following format: \"The correct answer is A/B/C/D\".\n"
      "- Do not include any explanations, additional text, or punctuation besides the "
      "answer.\n\nThe correct answer is");
  EXPECT_EQ(format.extract, Extraction::kC2c);
  EXPECT_FALSE(format.NeedsFact());
}

TEST_F(PromptFormatTest, ErrorsNameTheField) {
  const auto error = [&](const std::string& yaml) {
    return std::string(Load(yaml).status().message());
  };
  EXPECT_THAT(error("system: x"), HasSubstr("\"user\" is missing"));
  EXPECT_THAT(error("user: \"{question}\"\nprefix: x"), HasSubstr("unknown field \"prefix\""));
  EXPECT_THAT(error("user: \"{choices}\""), HasSubstr("user has no {question}"));
  EXPECT_THAT(error("user: \"{question} {option}\""), HasSubstr("{option}, which nothing fills"));
  EXPECT_THAT(error("user: \"{question}\"\ntext_relay: {sharer_user: \"{question}\", "
                    "receiver_user: \"{question}\"}"),
              HasSubstr("text_relay: receiver_user has no {hint}"));
  EXPECT_THAT(error("user: \"{question}\"\ntext_relay: {sharer_user: \"{question}\", "
                    "sharer_max_new_tokens: 0, receiver_user: \"{hint}\"}"),
              HasSubstr("\"sharer_max_new_tokens\" is 0"));
  EXPECT_THAT(error("user: \"{question}\"\ntemplate: jinja"), HasSubstr("template is \"jinja\""));
  EXPECT_THAT(error("user: \"{question}\"\ntemplate: none\nsystem: x"), HasSubstr("system"));
  EXPECT_THAT(error("user: \"{question}\"\nextract: last"), HasSubstr("extract is \"last\""));
  EXPECT_THAT(error("user: \"{question}\"\nsharer_context: \"{hint}\""),
              HasSubstr("sharer_context has {hint}"));
  EXPECT_THAT(error("user: \"{question}\"\nsharer_answer: {max_new_tokens: 0}"),
              HasSubstr("sharer_answer: field \"max_new_tokens\" is 0"));
  EXPECT_THAT(error("user: [\n"), HasSubstr("not YAML"));
}

}  // namespace
}  // namespace qc2c
