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
#include "common/text/chat_alignment.h"
#include "common/text/chat_template.h"
#include "common/text/token_map.h"
#include "common/text/tokenizer.h"
#include "qc2c/v1/sharer.pb.h"

namespace qc2c {

struct SharerReading {
  std::vector<int32_t> ids;         // sharer tokens, at least one
  std::vector<uint32_t> positions;  // of each id, ascending; empty: 0, 1, 2, ...
  std::vector<uint32_t> tokens;     // indices into ids whose cache is wanted, ascending; empty: all
  std::vector<uint32_t> token_positions;  // of the wanted tokens; empty: 0, 1, 2, ...
  // Receiver token i (MODE_PREFIX: place i of the prefix) takes wanted token slots[i]; -1: none.
  std::vector<int32_t> slots;

  // Of the wanted tokens, indices into ids.
  std::vector<uint32_t> WantedIndices() const;
  uint32_t num_wanted() const {
    return static_cast<uint32_t>(tokens.empty() ? ids.size() : tokens.size());
  }
};

// How the receiver reads a prompt that is fused.
struct ReceiverReading {
  std::vector<uint32_t> positions;  // of each token, ascending; empty: 0, 1, 2, ...
  // After so many tokens, ascending, those since the end before are fused, and what follows is read
  // on top of them; of the last part no token is. Empty: after all tokens but the last.
  std::vector<int64_t> fused_ends;

  bool operator==(const ReceiverReading&) const = default;
};

struct PairedPrompt {
  SharerReading sharer;
  ReceiverReading receiver;
};

// What remains to be asked of a sharer once it is known which token each receiver token takes, and
// at which positions the sharer's stand (empty: 0, 1, 2, ...): each token once, and nothing after
// the last of them, which it cannot depend on.
SharerReading ReadingOf(const AlignedTokens& aligned, const std::vector<uint32_t>& positions = {});

// Another question's slots for this prompt, whose own are `own`: those of both that are not -1 are
// paired from the end, where prompts agree. Slots that the other question does not reach are -1.
std::vector<int32_t> PairFromTheEnd(const std::vector<int32_t>& other,
                                    const std::vector<int32_t>& own);

// INVALID_ARGUMENT naming the id, or what is too long and the limit, if the sharer cannot read
// that.
absl::Status CheckSharerReads(const SharerReading& reading, const v1::ModelCard& sharer);

// How this receiver's tokens pair with its sharer's. Thread-safe; borrows the language model.
class TokenPairing {
 public:
  // `sharer` must have its text files if its tokenizer_hash is not the receiver's, or for the
  // strategies first and longest: absent ones are FAILED_PRECONDITION, another tokenizer than the
  // hash says, or none at all, DATA_LOSS.
  static absl::StatusOr<TokenPairing> Create(const LanguageModel& receiver,
                                             const v1::ModelCard& sharer,
                                             AlignmentStrategy strategy);

  // For all tokens of `prompt` but the last; with first and longest for the messages' tokens of a
  // conversation. `ids` are the receiver's own. The sharer reads `context` before it, in its own
  // tokens: the strategy same_ids then gives way to span. INVALID_ARGUMENT if the sharer cannot
  // read that (see CheckSharerReads) or AlignChat refuses the conversation; FAILED_PRECONDITION if
  // the receiver's template ends in fewer tokens than the sharer's.
  absl::StatusOr<PairedPrompt> Pair(const v1::Prompt& prompt, const std::vector<int32_t>& ids,
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
  absl::StatusOr<PairedPrompt> PairConversation(const v1::Prompt& prompt,
                                                const std::string& context) const;
  absl::Status CheckEnding(const AlignedChat& chat) const;
  // `context` in the sharer's tokens.
  absl::StatusOr<std::vector<int32_t>> EncodeContext(const v1::Prompt& prompt,
                                                     const std::string& context) const;

  const LanguageModel& receiver_;
  v1::ModelCard sharer_;  // without text files
  AlignmentStrategy strategy_;
  std::unique_ptr<const Tokenizer> own_tokenizer_;  // the sharer's, if it is not the receiver's
  // Of first and longest.
  std::optional<TokenMap> token_map_;
  std::optional<ChatTemplate> sharer_template_;
};

}  // namespace qc2c
