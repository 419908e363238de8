// Answers from a cache: greedy tokens, or the log-probability of given options.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "common/model/model.h"

namespace qc2c {

struct GreedyOptions {
  std::vector<int32_t> max_new_tokens;  // one a row, each >= 1
  std::vector<int32_t> eos_ids;
  // Called for each new token of each row, end-of-sequence included, in step order. Returning kStop
  // ends that row (a cancelled request). May be empty.
  enum class Step { kContinue, kStop };
  std::function<Step(int64_t row, int32_t id)> on_token;
};

struct Generation {
  std::vector<int32_t> ids;  // without the end-of-sequence token
  // kNotFinite: the logits after these ids have a NaN or an infinity for their largest, so that
  // they choose nothing.
  enum class End { kEos, kLength, kStopped, kNotFinite } end = End::kLength;
};

// Runs `tokens` (for a prompt: its last tokens) on top of `past`, then decodes greedily: argmax
// over the logits in the model's dtype, the lowest id among equals. `past` may be nullptr.
absl::StatusOr<std::vector<Generation>> DecodeGreedily(const Model& model, const TokenBatch& tokens,
                                                       const KvCache* past,
                                                       const GreedyOptions& options);

// options[b][o] is the token ids of option o of row b, which follow `tokens`. Returns, in the same
// shape, the sum over the option's ids of log p(id | everything before), in nats, computed in fp32.
// INVALID_ARGUMENT naming row and option for an empty option or an id outside the vocabulary.
absl::StatusOr<std::vector<std::vector<double>>> OptionLogProbabilities(
    const Model& model, const TokenBatch& tokens, const KvCache* past,
    const std::vector<std::vector<std::vector<int32_t>>>& options);

}  // namespace qc2c
