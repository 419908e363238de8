#include "experiments/question_request.h"

#include <gtest/gtest.h>

#include "experiments/project_files.h"

namespace qc2c {
namespace {

Dataset FactDataset() {
  Dataset dataset;
  dataset.name = "facts";
  dataset.method = v1::ANSWER_METHOD_LOGLIKELIHOOD;
  dataset.format = *PromptFormat::Load(*PromptFormatPath("fact_options"));
  dataset.questions = {{"a", "Who flies?", {{"A", "a bee"}, {"B", "a cat"}}, "A", "bees fly"},
                       {"b", "Who swims?", {{"A", "a cow"}, {"B", "a cod"}}, "B", "cod swim"}};
  return dataset;
}

v1::AnswerRequest RequestAt(const std::string& point) {
  return RequestFor(FactDataset(), *PointFromName(point), 0);
}

TEST(QuestionRequestTest, OnlyTheSharerReadsTheContextOfAPointThatSharesACache) {
  for (const char* point : {"int8", "prefix_int8"}) {
    const v1::AnswerRequest request = RequestAt(point);
    EXPECT_EQ(request.sharer_context(), "Fact: bees fly.\n") << point;
    EXPECT_EQ(request.prompt().text().find("bees"), std::string::npos) << point;
    EXPECT_EQ(request.method(), v1::ANSWER_METHOD_LOGLIKELIHOOD);
    EXPECT_EQ(request.options(0), " a bee");
  }
  EXPECT_EQ(RequestAt("receiver").sharer_context(), "");
  EXPECT_EQ(RequestAt("receiver").prompt().text().find("bees"), std::string::npos);
}

TEST(QuestionRequestTest, TheWrongQuestionBringsItsOwnContext) {
  const v1::AnswerRequest request = RequestAt("int8_wrong_question");
  EXPECT_EQ(request.sharer_context(), "Fact: bees fly.\n");
  EXPECT_EQ(request.control_context(), "Fact: cod swim.\n");
  EXPECT_EQ(request.control_prompt().text(), "Question: Who swims?\nA. a cow\nB. a cod\nAnswer:");
}

TEST(QuestionRequestTest, TheSharerAloneReadsItsContextAndAnswersInItsOwnFormat) {
  for (const char* point : {"sharer", "text_answer"}) {
    const v1::AnswerRequest request = RequestAt(point);
    EXPECT_TRUE(request.prompt().text().starts_with("Fact: bees fly.\nQuestion:")) << point;
    EXPECT_EQ(request.sharer_context(), "");
    EXPECT_EQ(request.method(), v1::ANSWER_METHOD_GENERATE);
    EXPECT_EQ(request.max_new_tokens(), 64u);
    EXPECT_EQ(request.options_size(), 0);
    EXPECT_EQ(AnswerFormatOf(FactDataset(), *PointFromName(point)).extract, Extraction::kC2c);
  }
}

TEST(QuestionRequestTest, TheContextAsTextIsInTheReceiversPrompt) {
  const v1::AnswerRequest request = RequestAt("receiver_context");
  EXPECT_EQ(request.mode(), v1::MODE_RECEIVER);
  EXPECT_TRUE(request.prompt().text().starts_with("Fact: bees fly.\nQuestion:"));
  EXPECT_EQ(request.sharer_context(), "");
}

}  // namespace
}  // namespace qc2c
