// MODE_PREFIX: a context that only the sharer reads, before the receiver's own tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/serving/language_model.h"
#include "qc2c/v1/sharer.pb.h"

namespace qc2c {

// Context and prompt as one text would be read, cut where the context ends.
struct PrefixedPrompt {
  std::vector<int32_t> context_ids;  // the sharer's, from position 0
  std::vector<int32_t> prompt_ids;   // the receiver's, from position context_ids.size()
};

// A cache can stand before another model's tokens only if both compute the same:
// FAILED_PRECONDITION naming both fingerprints, or both tokenizer hashes, if they differ.
absl::Status CheckSameModel(const v1::ModelCard& receiver, const v1::ModelCard& sharer);

// Tokenizes `context` and the rendered prompt together, so that the ids are those of the context
// written in front of the prompt, and the sharer's keys are at their place as they come. A token
// with bytes of both belongs to the prompt. INVALID_ARGUMENT if the context has no token of its own
// or the whole does not fit into the model with `num_new_tokens` more.
absl::StatusOr<PrefixedPrompt> SplitAtContext(const LanguageModel& language_model,
                                              const std::string& context, const v1::Prompt& prompt,
                                              int64_t num_new_tokens);

}  // namespace qc2c
