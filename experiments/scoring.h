// From a reply to right or wrong.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "experiments/question.h"
#include "qc2c/v1/receiver.pb.h"

namespace qc2c {

struct Score {
  std::optional<std::string> prediction;  // nothing could be extracted: counts as wrong
  bool correct = false;
};

// How the letter is found in a generated answer.
enum class Extraction {
  kExact,  // "exact": the one with which the text begins, if it stands alone there (not the first
           // letter of a word)
  kC2c,    // "c2c": as ExtractLetter finds it anywhere in the text
};

// INVALID_ARGUMENT beginning with `where` for any other name.
absl::StatusOr<Extraction> ExtractionFromName(const std::string& where, const std::string& name);
std::string ExtractionName(Extraction extraction);

// Multiple choice, generated: the letter by `extraction`. Multiple choice by LOGITS or
// LOGLIKELIHOOD: the reply's option. Open: the text, equal to the answer after trimming and ASCII
// case folding. INTERNAL if the reply chose an option that was not offered.
absl::StatusOr<Score> ScoreReply(const Question& question, v1::AnswerMethod method,
                                 Extraction extraction, const v1::AnswerReply& reply);

}  // namespace qc2c
