// A conversation as two models with different tokenizers and templates read it: the chat alignment
// of C2C's aligner.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/text/alignment.h"
#include "common/text/chat_template.h"
#include "common/text/token_map.h"

namespace qc2c {

// How a model reads a conversation. Borrows.
struct ChatReader {
  Vocabulary vocabulary;
  const ChatTemplate* chat_template;
};

// Slots: each holds a token or a pad of either model. Positions count every slot; no attention goes
// to a pad. Receiver slot i pairs with sharer slot i.
struct AlignedChat {
  std::vector<int32_t> receiver_ids;  // [slots]
  // sharer_ids: [slots]. sharer_token[i] is i where a message's text stands, which is what is
  // fused; -1 where a template's does.
  AlignedTokens tokens;
  std::vector<bool> receiver_pad;  // [slots]
  std::vector<bool> sharer_pad;    // [slots]
};

// Both templates render the messages, without thinking and with what opens the answer. Each text is
// cut into what stands in a message and what its template put around them. In a message the sharer
// reads the receiver's tokens by way of `map`; around them each model reads its own template, and
// the shorter side is padded at its right: a receiver with the shorter ending ends in pads.
//
// A message is looked for behind the one before it, where "<" or the end of the text follows it, or
// else wherever it stands. INVALID_ARGUMENT: a template refuses the messages; a message's text is
// not in order in what a template made (it was trimmed, perhaps); the cuts of the two differ; a
// model that must be padded has neither pad nor eos.
absl::StatusOr<AlignedChat> AlignChat(const std::vector<ChatMessage>& messages,
                                      const ChatReader& receiver, const ChatReader& sharer,
                                      const TokenMap& map);

}  // namespace qc2c
