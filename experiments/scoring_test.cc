#include "experiments/scoring.h"

#include <gtest/gtest.h>

namespace qc2c {
namespace {

Score ScoreText(const Question& question, const std::string& text,
                Extraction extraction = Extraction::kExact) {
  v1::AnswerReply reply;
  reply.set_text(text);
  return ScoreReply(question, v1::ANSWER_METHOD_GENERATE, extraction, reply).value();
}

const Question kChoice{"id", "?", {{"A", "Cairo"}, {"B", "Boston"}, {"C", "Rome"}}, "B"};
const Question kOpen{"id", "?", {}, "Boston"};

TEST(ScoringTest, ALetterCountsOnlyIfItStandsAlone) {
  for (const char* text : {" B", "B", "B.", "B\n", " B) Boston", "B, because"}) {
    EXPECT_EQ(ScoreText(kChoice, text).prediction, "B") << text;
    EXPECT_TRUE(ScoreText(kChoice, text).correct) << text;
  }
  for (const char* text : {"Boston", "B2", "Bé", "", "the answer is B", "D", "b"}) {
    EXPECT_FALSE(ScoreText(kChoice, text).prediction.has_value()) << text;
    EXPECT_FALSE(ScoreText(kChoice, text).correct) << text;
  }
  EXPECT_EQ(ScoreText(kChoice, " C").prediction, "C");
  EXPECT_FALSE(ScoreText(kChoice, " C").correct);
}

TEST(ScoringTest, ByTheRulesOfC2cTheLetterMayStandAnywhere) {
  EXPECT_EQ(ScoreText(kChoice, "The correct answer is B.", Extraction::kC2c).prediction, "B");
  EXPECT_TRUE(ScoreText(kChoice, "The correct answer is B.", Extraction::kC2c).correct);
  const Score nothing = ScoreText(kChoice, "the", Extraction::kC2c);
  EXPECT_FALSE(nothing.prediction.has_value());
  EXPECT_FALSE(nothing.correct);
}

TEST(ScoringTest, ExtractionsHaveNames) {
  for (const Extraction extraction : {Extraction::kExact, Extraction::kC2c}) {
    EXPECT_EQ(*ExtractionFromName("f", ExtractionName(extraction)), extraction);
  }
  EXPECT_FALSE(ExtractionFromName("f", "first").ok());
}

TEST(ScoringTest, AnOpenAnswerIsComparedWithoutCaseAndSpaceAtTheEnds) {
  EXPECT_TRUE(ScoreText(kOpen, " boston\n").correct);
  EXPECT_FALSE(ScoreText(kOpen, "Boston, I think").correct);
  EXPECT_FALSE(ScoreText(kOpen, "").prediction.has_value());
}

TEST(ScoringTest, ByLogitsTheReplysOptionIsThePrediction) {
  v1::AnswerReply reply;
  reply.set_option(1);
  EXPECT_TRUE(ScoreReply(kChoice, v1::ANSWER_METHOD_LOGITS, Extraction::kExact, reply)->correct);
  reply.set_option(0);
  EXPECT_EQ(
      ScoreReply(kChoice, v1::ANSWER_METHOD_LOGLIKELIHOOD, Extraction::kExact, reply)->prediction,
      "A");
  for (const int option : {-1, 3}) {
    reply.set_option(option);
    EXPECT_FALSE(ScoreReply(kChoice, v1::ANSWER_METHOD_LOGITS, Extraction::kExact, reply).ok())
        << option;
  }
}

}  // namespace
}  // namespace qc2c
