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

// Multiple choice, generated: the letter with which the text begins, if it stands alone there (not
// the first letter of a word). Multiple choice by LOGITS or LOGLIKELIHOOD: the reply's option.
// Open: the text, equal to the answer after trimming and ASCII case folding.
// INTERNAL if the reply chose an option that was not offered.
absl::StatusOr<Score> ScoreReply(const Question& question, v1::AnswerMethod method,
                                 const v1::AnswerReply& reply);

}  // namespace qc2c
