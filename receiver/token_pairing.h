// What the sharer reads for a question, and which of its tokens each of the receiver's takes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/serving/language_model.h"
#include "common/text/alignment.h"
#include "common/text/token_map.h"
#include "common/text/tokenizer.h"
#include "qc2c/v1/sharer.pb.h"

namespace qc2c {

struct SharerReading {
  std::vector<int32_t> ids;      // sharer tokens, at least one
  std::vector<uint32_t> tokens;  // indices into ids whose cache is wanted, ascending; empty: all
  // Receiver token i (MODE_PREFIX: place i of the prefix) takes wanted token slots[i]; -1: none.
  std::vector<int32_t> slots;

  // Of the wanted tokens, indices into ids.
  std::vector<uint32_t> Positions() const;
  uint32_t num_wanted() const {
    return static_cast<uint32_t>(tokens.empty() ? ids.size() : tokens.size());
  }
};

// What remains to be asked of a sharer once it is known which token each receiver token takes: each
// token once, and nothing after the last of them, which it cannot depend on.
SharerReading ReadingOf(const AlignedTokens& aligned);

// Another question's slots for a prompt of `num_slots` tokens: paired from the end, where prompts
// agree. Slots that the other question does not reach are -1.
std::vector<int32_t> PairFromTheEnd(const std::vector<int32_t>& slots, size_t num_slots);

// INVALID_ARGUMENT naming the id, or both lengths, if the sharer cannot read `ids`.
absl::Status CheckSharerIds(const std::vector<int32_t>& ids, const v1::ModelCard& sharer);

// How this receiver's tokens pair with its sharer's. Thread-safe; borrows the language model.
class TokenPairing {
 public:
  // `sharer` must have its text files if its tokenizer_hash is not the receiver's: absent ones are
  // FAILED_PRECONDITION, another tokenizer than the hash says, or none at all, DATA_LOSS.
  static absl::StatusOr<TokenPairing> Create(const LanguageModel& receiver,
                                             const v1::ModelCard& sharer,
                                             AlignmentStrategy strategy);

  // For all tokens of `prompt` but the last; `ids` are the receiver's own. The sharer reads
  // `context` before it, in its own tokens: the strategy same_ids then gives way to span.
  // INVALID_ARGUMENT if the sharer cannot read that (see CheckSharerIds).
  absl::StatusOr<SharerReading> Pair(const v1::Prompt& prompt, const std::vector<int32_t>& ids,
                                     const std::string& context) const;

  AlignmentStrategy strategy() const { return strategy_; }

 private:
  TokenPairing(const LanguageModel& receiver, const v1::ModelCard& sharer,
               AlignmentStrategy strategy);

  const Tokenizer& sharer_tokenizer() const {
    return own_tokenizer_ ? *own_tokenizer_ : receiver_.tokenizer;
  }
  // The special tokens that the sharer's tokenizer adds to what it reads. The receiver's template
  // wrote the receiver's; a sharer of another tokenizer needs its own.
  SpecialTokens SpecialTokensFor(const v1::Prompt& prompt) const;
  absl::Status ReadTextFiles(const v1::ModelCard& sharer);
  absl::StatusOr<AlignedTokens> AlignSpansOf(const v1::Prompt& prompt,
                                             const std::string& context) const;
  absl::StatusOr<AlignedTokens> AlignOneByOne(const v1::Prompt& prompt,
                                              const std::vector<int32_t>& ids,
                                              const std::string& context) const;

  const LanguageModel& receiver_;
  v1::ModelCard sharer_;  // without text files
  AlignmentStrategy strategy_;
  std::unique_ptr<const Tokenizer> own_tokenizer_;  // the sharer's, if it is not the receiver's
  std::optional<TokenMap> token_map_;               // first, longest
};

}  // namespace qc2c
