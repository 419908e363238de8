#include "experiments/answer_extraction.h"

#include <gtest/gtest.h>

namespace qc2c {
namespace {

struct Case {
  const char* text;
  const char* letter;  // "": nothing
};

void ExpectLetters(std::initializer_list<Case> cases) {
  for (const Case& c : cases) {
    EXPECT_EQ(ExtractLetter(c.text).value_or(""), c.letter) << '"' << c.text << '"';
  }
}

// The expected letters were taken by hand from the rules of the reference.
TEST(ExtractLetterTest, AfterAnOpeningTheFirstUpperCaseLetterOfTheLineCounts) {
  ExpectLetters({{"The correct answer is B", "B"},
                 {"the CORRECT answer is: C. Because of A", "C"},
                 {"Answer: (d) no, D", "D"},
                 {"Answer:\n\n  B. Rome\nor A", "B"},
                 {"Correct answer is:\nC", "C"},
                 {"The answer is Boston", "B"},  // even inside a word
                 {"Response: c, or so. Option: A", "A"}});
}

TEST(ExtractLetterTest, OpeningsAreTriedInTheirOrderAndOneWithoutALetterIsPassedOver) {
  ExpectLetters({{"Option: A\nAnswer: B", "B"},
                 {"Answer: none\nThe answer is C", "C"},
                 {"Jibu sahihi: C", "C"},
                 {"Answer: none. Answer: Dog", "A"}});  // of the second "Answer"
}

TEST(ExtractLetterTest, WithoutAnOpeningTheMarkedLetterCounts) {
  ExpectLetters({{"B", "B"},
                 {"b.", "B"},
                 {"I say c !", "C"},
                 {"A. Rome", "A"},
                 {"A) Rome, B) Paris", "B"},
                 {"First A: no. Then B , yes", "B"},
                 {"\xe2\x80\x9c"
                  "C\xe2\x80\x9d",
                  "C"},  // quotation marks end no word
                 {"caf\xc3\xa9"
                  "d",
                  ""}});  // part of a word
}

TEST(ExtractLetterTest, ThenALetterThatStandsAloneAndTheArticleIsOne) {
  ExpectLetters({{"it is B for sure", "B"}, {"it is a dog", "A"}, {"B or a dog", "A"}});
}

TEST(ExtractLetterTest, MathematicsIsNotTrusted) {
  ExpectLetters({{"x = A", ""},
                 {"x - y, so B is it", ""},
                 {"the option x = B", "B"},
                 {"x = Anna", "A"}});  // no letter stands alone: the last rule decides
}

TEST(ExtractLetterTest, AtLastAnyUpperCaseLetterFromTheEnd) {
  ExpectLetters({{"Boston and Detroit", "D"}, {"The", ""}, {"Cairo", "C"}, {"boston", ""}});
}

TEST(ExtractLetterTest, AnEmptyTextHasNone) { ExpectLetters({{"", ""}, {" \n\t", ""}}); }

}  // namespace
}  // namespace qc2c
