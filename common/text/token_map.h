// From the tokens of one vocabulary to those of another, one for one: the strategies `first` and
// `longest` of C2C's aligner.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/text/alignment.h"
#include "common/text/special_tokens.h"
#include "common/text/tokenizer.h"

namespace qc2c {

// A tokenizer and what its folder calls special. Borrows the tokenizer.
struct Vocabulary {
  const Tokenizer* tokenizer;
  SpecialIds special;
};

// The sharer's token for a receiver's:
// - for one of the receiver's special tokens that has a part (pad, eos, bos, unk; a missing pad is
//   the eos), the sharer's of the same part; for any other special token, the sharer's of the same
//   spelling;
// - otherwise its text, decoded alone, is encoded by the sharer: the first of the tokens, or the
//   one whose own text has most characters, the first of equals. A token with a part of a character
//   has the text U+FFFD.
// Whatever leads to nothing is the sharer's unk, or 0 without one.
//
// Thread-safe. Borrows both tokenizers. Moved from, it may only be destroyed or assigned to.
class TokenMap {
 public:
  // INVALID_ARGUMENT if the strategy is neither kFirst nor kLongest.
  static absl::StatusOr<TokenMap> Create(Vocabulary receiver, Vocabulary sharer,
                                         AlignmentStrategy strategy);
  TokenMap(TokenMap&&) noexcept;
  TokenMap& operator=(TokenMap&&) noexcept;
  ~TokenMap();

  // INVALID_ARGUMENT for an id that is negative. One that the receiver's vocabulary lacks has an
  // empty text.
  absl::StatusOr<int32_t> Map(int32_t receiver_id) const;

  // Every token mapped; token i takes token i.
  absl::StatusOr<AlignedTokens> Align(const std::vector<int32_t>& receiver_ids) const;

 private:
  struct State;
  explicit TokenMap(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace qc2c
