#include "experiments/question.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/files.h"
#include "experiments/fake_receiver.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;

class QuestionTest : public testing::Test {
 protected:
  ~QuestionTest() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<std::vector<Question>> Load(const std::string& text, uint64_t limit = 0) {
    EXPECT_TRUE(WriteFileAtomically(folder_ / "q.jsonl", text).ok());
    return LoadQuestions(folder_ / "q.jsonl", limit);
  }
  void ExpectError(const std::string& text, const std::string& at, const std::string& what) {
    const absl::Status status = Load(text).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("q.jsonl" + at));
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  }

  const std::filesystem::path folder_ = FreshFolder();
};

constexpr char kGood[] =
    R"({"id": "a", "question": "Which?", "choices": {"B": "x", "A": "y"}, "answer": "A", "fact": 1})"
    "\n";

TEST_F(QuestionTest, KeepsTheOrderOfChoicesAndIgnoresFurtherFields) {
  const auto questions = *Load(kGood);
  ASSERT_EQ(questions.size(), 1);
  EXPECT_EQ(questions[0].choices[0].letter, "B");
  EXPECT_EQ(questions[0].choices[1].text, "y");
  EXPECT_FALSE(questions[0].is_open());
  EXPECT_EQ(questions[0].fact, "");
}

TEST_F(QuestionTest, AnIdMayBeANumberAndAFactIsKept) {
  const auto questions = *Load(R"({"id": 7, "question": "?", "answer": "x", "fact": "bees fly"})");
  EXPECT_EQ(questions[0].id, "7");
  EXPECT_EQ(questions[0].fact, "bees fly");
}

TEST_F(QuestionTest, StopsAtTheLimit) {
  const std::string text = R"({"id": "a", "question": "?", "answer": "x"})"
                           "\n\n"
                           R"({"id": "b", "question": "?", "answer": "x"})"
                           "\nnot read\n";
  EXPECT_EQ(Load(text, 2)->size(), 2);
  EXPECT_TRUE(Load(text, 2)->front().is_open());
}

TEST_F(QuestionTest, ErrorsNameFileLineAndField) {
  ExpectError(std::string(kGood) + "{\n", ":2", "not a JSON object");
  ExpectError("[]\n", ":1", "not a JSON object");
  ExpectError(R"({"question": "?", "answer": "x"})", ":1", "\"id\" is missing");
  ExpectError(R"({"id": 7.5, "question": "?", "answer": "x"})", ":1", "\"id\" is 7.5");
  ExpectError(R"({"id": "a", "question": "", "answer": "x"})", ":1", "\"question\" is \"\"");
  ExpectError(R"({"id": "a", "question": "?", "answer": null})", ":1", "\"answer\" is null");
  ExpectError(R"({"id": "a", "question": "?", "choices": ["x"], "answer": "A"})", ":1",
              "\"choices\" must be an object");
  ExpectError(R"({"id": "a", "question": "?", "choices": {"A": 1, "B": "y"}, "answer": "A"})", ":1",
              "\"A\" is 1");
  ExpectError(R"({"id": "a", "question": "?", "choices": {"A": "x", "B": "y"}, "answer": "C"})",
              ":1", "\"C\", which no choice has");
  ExpectError(std::string(kGood) + kGood, ":2", "\"a\", as on an earlier line");
  ExpectError(std::string(kGood) + R"({"id": "b", "question": "?", "answer": "x"})", ":2",
              "not both");
  ExpectError("\n", "", "no question");
}

}  // namespace
}  // namespace qc2c
