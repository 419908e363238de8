#include "common/text/chat_alignment.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

using Range = EncodedText::Range;

// A run of tokens that a message's text, or else the template's, is made of.
struct Section {
  bool is_message;
  std::vector<int32_t> ids;
};

// Whether the bytes stand inside of Llama's "<|begin_of_text|>", which is no message's text.
bool IsInBeginOfText(std::string_view text, size_t begin, size_t size) {
  constexpr std::string_view kName = "begin_of_text";
  const size_t name = text.rfind(kName, begin);
  return name != std::string_view::npos && begin + size <= name + kName.size();
}

// Where a message stands in the rendered text; `from` is the end of the one before it.
std::optional<size_t> FindMessage(std::string_view text, std::string_view message, size_t from) {
  constexpr size_t kNowhere = std::string_view::npos;
  for (size_t at = text.find(message, from); at != kNowhere; at = text.find(message, at + 1)) {
    const size_t end = at + message.size();
    if (end == text.size() || text[end] == '<') return at;
  }
  for (const size_t start : {from, size_t{0}}) {
    for (size_t at = text.find(message, start); at != kNowhere; at = text.find(message, at + 1)) {
      if (!IsInBeginOfText(text, at, message.size())) return at;
    }
  }
  return std::nullopt;
}

// The bytes of each message that has any, in order.
absl::StatusOr<std::vector<Range>> FindMessages(const std::string& text,
                                                const std::vector<ChatMessage>& messages,
                                                const std::string& reader) {
  std::vector<Range> found;
  size_t from = 0;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& content = messages[i].content;
    if (content.empty()) continue;
    const std::optional<size_t> begin = FindMessage(text, content, from);
    if (!begin || *begin < from) {
      return absl::InvalidArgumentError(
          absl::StrCat("messages[", i, "].content does not stand ", from == 0 ? "" : "in order ",
                       "in the prompt that the ", reader, "'s chat template made"));
    }
    from = *begin + content.size();
    found.push_back({*begin, from});
  }
  return found;
}

// A token across the border of a message belongs to the message.
std::vector<Section> Cut(const EncodedText& encoded, const std::vector<Range>& messages) {
  const auto& ids = encoded.ids;
  std::vector<Section> sections;
  size_t done = 0;
  const auto add = [&](bool is_message, size_t end) {
    const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(done);
    sections.push_back({is_message, {begin, ids.begin() + static_cast<std::ptrdiff_t>(end)}});
    done = end;
  };
  for (const Range& message : messages) {
    size_t begin = done;
    while (begin < ids.size() && encoded.offsets[begin].end <= message.begin) ++begin;
    size_t end = begin;
    while (end < ids.size() && encoded.offsets[end].begin < message.end) ++end;
    if (begin > done) add(false, begin);
    add(true, end);
  }
  if (done < ids.size()) add(false, ids.size());
  return sections;
}

absl::StatusOr<std::vector<Section>> Read(const std::vector<ChatMessage>& messages,
                                          const ChatReader& reader,
                                          const ChatAlignmentOptions& options,
                                          const std::string& name) {
  ASSIGN_OR_RETURN(std::string text, reader.chat_template->Render(
                                         messages, {.add_generation_prompt = true,
                                                    .enable_thinking = options.enable_thinking}));
  ASSIGN_OR_RETURN(std::vector<Range> found, FindMessages(text, messages, name));
  if (!options.reply_prefix.empty()) {
    const size_t begin = text.size();
    text += options.reply_prefix;
    found.push_back({begin, text.size()});
  }
  ASSIGN_OR_RETURN(const EncodedText encoded, reader.tokenizer->EncodeWithOffsets(text));
  return Cut(encoded, found);
}

// "template, message, template"
std::string Describe(const std::vector<Section>& sections) {
  std::string text;
  for (const Section& section : sections) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", section.is_message ? "message" : "template");
  }
  return text;
}

// Appends a section's tokens at the slots from `slot` on.
void Append(const std::vector<int32_t>& section, uint32_t slot, std::vector<int32_t>& ids,
            std::vector<uint32_t>& slots) {
  for (const int32_t id : section) {
    ids.push_back(id);
    slots.push_back(slot++);
  }
}

}  // namespace

absl::StatusOr<AlignedChat> AlignChat(const std::vector<ChatMessage>& messages,
                                      const ChatReader& receiver, const ChatReader& sharer,
                                      const TokenMap& map, const ChatAlignmentOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<Section> ours, Read(messages, receiver, options, "receiver"));
  ASSIGN_OR_RETURN(const std::vector<Section> theirs, Read(messages, sharer, options, "sharer"));
  if (!std::ranges::equal(ours, theirs, {}, &Section::is_message, &Section::is_message)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the chat templates cut the messages differently: the receiver's into ",
                     Describe(ours), ", the sharer's into ", Describe(theirs)));
  }
  AlignedChat chat;
  AlignedTokens& tokens = chat.tokens;
  for (size_t i = 0; i < ours.size(); ++i) {
    AlignedTokens section{.sharer_ids = theirs[i].ids,
                          .sharer_token = std::vector<int32_t>(ours[i].ids.size(), -1)};
    if (ours[i].is_message) {
      ASSIGN_OR_RETURN(section, map.Align(ours[i].ids));
      const auto first = static_cast<int32_t>(tokens.sharer_ids.size());
      for (int32_t& token : section.sharer_token) token += first;
    }
    Append(ours[i].ids, chat.num_slots, chat.receiver_ids, chat.receiver_slots);
    Append(section.sharer_ids, chat.num_slots, tokens.sharer_ids, chat.sharer_slots);
    tokens.sharer_token.insert(tokens.sharer_token.end(), section.sharer_token.begin(),
                               section.sharer_token.end());
    chat.num_slots +=
        static_cast<uint32_t>(std::max(ours[i].ids.size(), section.sharer_ids.size()));
  }
  return chat;
}

}  // namespace qc2c
