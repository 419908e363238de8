#include "experiments/scoring.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "experiments/answer_extraction.h"

namespace qc2c {
namespace {

std::string Trimmed(const std::string& text) {
  return std::string(absl::StripAsciiWhitespace(text));
}

// A byte that continues a word: letters, digits, and every byte of a character outside ASCII.
bool ContinuesWord(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x80 || absl::ascii_isalnum(byte);
}

std::optional<std::string> LeadingLetter(const Question& question, const std::string& text) {
  for (const Choice& choice : question.choices) {
    if (!absl::StartsWith(text, choice.letter)) continue;
    if (text.size() > choice.letter.size() && ContinuesWord(text[choice.letter.size()])) continue;
    return choice.letter;
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<Extraction> ExtractionFromName(const std::string& where, const std::string& name) {
  for (const Extraction extraction : {Extraction::kExact, Extraction::kC2c}) {
    if (name == ExtractionName(extraction)) return extraction;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(where, " is \"", name, "\"; expected exact or c2c"));
}

std::string ExtractionName(Extraction extraction) {
  return extraction == Extraction::kC2c ? "c2c" : "exact";
}

absl::StatusOr<Score> ScoreReply(const Question& question, v1::AnswerMethod method,
                                 Extraction extraction, const v1::AnswerReply& reply) {
  Score score;
  const std::string text = Trimmed(reply.text());
  if (question.is_open()) {
    if (!text.empty()) score.prediction = text;
    score.correct = absl::EqualsIgnoreCase(text, Trimmed(question.answer));
  } else if (method == v1::ANSWER_METHOD_GENERATE) {
    score.prediction =
        extraction == Extraction::kC2c ? ExtractLetter(text) : LeadingLetter(question, text);
    score.correct = score.prediction == question.answer;
  } else {
    if (reply.option() < 0 || reply.option() >= static_cast<int>(question.choices.size())) {
      return absl::InternalError(absl::StrCat("reply.option is ", reply.option(),
                                              "; expected 0 to ", question.choices.size() - 1));
    }
    score.prediction = question.choices[reply.option()].letter;
    score.correct = score.prediction == question.answer;
  }
  return score;
}

}  // namespace qc2c
