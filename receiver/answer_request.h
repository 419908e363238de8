// What an AnswerRequest may say, checked before anything is computed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "qc2c/v1/receiver.pb.h"

namespace qc2c {

// Stands in the prompt of MODE_TEXT for what the sharer writes.
inline constexpr char kHintPlaceholder[] = "{hint}";
inline constexpr size_t kMaxQuestionIdBytes = 256;
inline constexpr int kMaxOptions = 256;

// INVALID_ARGUMENT naming the field, what was found and what was expected.
absl::Status CheckAnswerRequest(const v1::AnswerRequest& request);

// Tokens that the answer may add to the prompt (of GENERATE; options are checked with their own).
int64_t NumNewTokens(const v1::AnswerRequest& request);

}  // namespace qc2c
