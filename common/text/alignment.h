// Which sharer token each receiver token takes its cache from, when the two models do not read the
// same ids: the aligner of C2C (Cache-to-Cache, arXiv:2510.03215), and `span`, by where tokens end.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/text/tokenizer.h"

namespace qc2c {

enum class AlignmentStrategy {
  kSameIds,  // "same_ids": one tokenizer; the sharer reads the receiver's ids
  kFirst,    // "first": the sharer reads one token for each receiver token, the first of its text
  kLongest,  // "longest": the same, with the longest token of its text
  kSpan,     // "span": the sharer reads its own tokens of the text, paired by where they end
};

// INVALID_ARGUMENT, with the names above, for any other.
absl::StatusOr<AlignmentStrategy> ParseAlignmentStrategy(std::string_view name);
std::string_view AlignmentStrategyName(AlignmentStrategy strategy);

struct AlignedTokens {
  std::vector<int32_t> sharer_ids;  // what the sharer reads
  // One a receiver token: the index into sharer_ids of the token that it takes; -1: none.
  std::vector<int32_t> sharer_token;
};

// Token i takes token i.
AlignedTokens AlignSameIds(const std::vector<int32_t>& receiver_ids);

struct SpanOptions {
  // Read by the sharer alone, in front of the text.
  std::string_view context;
  // kAdd for a sharer that needs its BOS. What is added has no place in the text, so that only a
  // receiver token before all others can take it.
  SpecialTokens special = SpecialTokens::kAsWritten;
};

// The sharer reads context + text by its own tokenizer. Receiver token i, made of the bytes
// receiver_tokens[i] of `text`, takes the sharer token that ends last at or before its end; of
// several that end together the last, which has read all that the others have; the first token of
// all if every one ends later. Tokens that share a character all end where it ends (EncodedText). A
// special token of the receiver is plain text to a sharer that has no such token.
//
// INVALID_ARGUMENT: text or context are not UTF-8; a range is reversed or ends outside the text; no
// sharer token to take.
absl::StatusOr<AlignedTokens> AlignSpans(std::string_view text,
                                         const std::vector<EncodedText::Range>& receiver_tokens,
                                         const Tokenizer& sharer, const SpanOptions& options = {});

}  // namespace qc2c
