// A conversation as two models with different tokenizers and templates read it: the chat alignment
// of C2C's aligner.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/text/alignment.h"
#include "common/text/chat_template.h"
#include "common/text/token_map.h"

namespace qc2c {

// How a model reads a conversation. Borrows.
struct ChatReader {
  const Tokenizer* tokenizer;
  const ChatTemplate* chat_template;
};

// What stands in the prompt beside the messages; the same for both models.
struct ChatAlignmentOptions {
  bool enable_thinking = false;
  // Written behind what opens the answer, as it is: the last message's text, so to speak.
  std::string_view reply_prefix;
};

// The tokens of both models at their slots. Receiver slot i pairs with sharer slot i; a slot that
// only one of them fills is a pad of the other, which nothing attends to: it counts as a position
// and has no place here.
struct AlignedChat {
  std::vector<int32_t> receiver_ids;
  std::vector<uint32_t> receiver_slots;  // of each of receiver_ids, ascending
  // sharer_token has the token at the slot of receiver token i where that is a message's, -1 where
  // it is a template's.
  AlignedTokens tokens;
  std::vector<uint32_t> sharer_slots;  // of each of tokens.sharer_ids, ascending
  // The slots of the longer side. If the receiver's last slot is before the last of these, the
  // public aligner's receiver ends in pads.
  uint32_t num_slots = 0;
};

// Both templates render the messages, with what opens the answer. Each text is cut into what stands
// in a message and what its template put around them. In a message the sharer reads the receiver's
// tokens by way of `map`; around them each model reads its own template, and the shorter side is
// padded at its right.
//
// A message is looked for behind the one before it, where "<" or the end of the text follows it, or
// else wherever it stands. INVALID_ARGUMENT: a template refuses the messages; a message's text is
// not in order in what a template made (it was trimmed, perhaps); the cuts of the two differ.
absl::StatusOr<AlignedChat> AlignChat(const std::vector<ChatMessage>& messages,
                                      const ChatReader& receiver, const ChatReader& sharer,
                                      const TokenMap& map,
                                      const ChatAlignmentOptions& options = {});

}  // namespace qc2c
