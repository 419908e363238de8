#include "receiver/token_pairing.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/text/special_tokens.h"
#include "common/text/text_files.h"

namespace qc2c {

namespace {

// Positions without gaps need no list.
std::vector<uint32_t> UnlessConsecutive(std::vector<uint32_t> positions) {
  if (!positions.empty() && positions.back() + 1 == positions.size()) positions.clear();
  return positions;
}

// After how many tokens each message ends that something follows.
std::vector<int64_t> EndsOfMessages(const std::vector<int32_t>& sharer_token) {
  std::vector<int64_t> ends;
  for (size_t i = 1; i < sharer_token.size(); ++i) {
    if (sharer_token[i - 1] >= 0 && sharer_token[i] < 0) ends.push_back(static_cast<int64_t>(i));
  }
  return ends;
}

// The sharer reads `before` in front of what `aligned` says.
void PutBefore(const std::vector<int32_t>& before, AlignedTokens& aligned) {
  aligned.sharer_ids.insert(aligned.sharer_ids.begin(), before.begin(), before.end());
  for (int32_t& token : aligned.sharer_token) {
    if (token >= 0) token += static_cast<int32_t>(before.size());
  }
}

}  // namespace

std::vector<uint32_t> SharerReading::WantedIndices() const {
  if (!tokens.empty()) return tokens;
  std::vector<uint32_t> all(ids.size());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

SharerReading ReadingOf(const AlignedTokens& aligned, const std::vector<uint32_t>& positions) {
  SharerReading reading;
  for (const int32_t token : aligned.sharer_token) {
    if (token >= 0) reading.tokens.push_back(static_cast<uint32_t>(token));
  }
  std::ranges::sort(reading.tokens);
  const auto repeated = std::ranges::unique(reading.tokens);
  reading.tokens.erase(repeated.begin(), repeated.end());
  for (const int32_t token : aligned.sharer_token) {
    const auto found = std::ranges::lower_bound(reading.tokens, static_cast<uint32_t>(token));
    reading.slots.push_back(token < 0 ? -1 : static_cast<int32_t>(found - reading.tokens.begin()));
  }
  const size_t num_read = reading.tokens.empty() ? 0 : reading.tokens.back() + 1;
  reading.ids.assign(aligned.sharer_ids.begin(), aligned.sharer_ids.begin() + num_read);
  if (!positions.empty()) {
    reading.positions = UnlessConsecutive({positions.begin(), positions.begin() + num_read});
  }
  for (const uint32_t token : reading.tokens) {
    reading.token_positions.push_back(reading.positions.empty() ? token : reading.positions[token]);
  }
  reading.token_positions = UnlessConsecutive(std::move(reading.token_positions));
  if (reading.tokens.size() == reading.ids.size()) reading.tokens.clear();
  return reading;
}

std::vector<int32_t> PairFromTheEnd(const std::vector<int32_t>& other,
                                    const std::vector<int32_t>& own) {
  std::vector<int32_t> paired(own.size(), -1);
  auto next = other.rbegin();
  for (size_t i = own.size(); i-- > 0;) {
    if (own[i] < 0) continue;
    next = std::find_if(next, other.rend(), [](int32_t token) { return token >= 0; });
    if (next == other.rend()) break;
    paired[i] = *next++;
  }
  return paired;
}

absl::Status CheckSharerReads(const SharerReading& reading, const v1::ModelCard& sharer) {
  const std::vector<int32_t>& ids = reading.ids;
  if (ids.empty()) {
    return absl::InvalidArgumentError("no sharer token is paired with a token of the prompt");
  }
  const size_t num_positions =
      reading.positions.empty() ? ids.size() : size_t{reading.positions.back()} + 1;
  if (num_positions > sharer.max_positions()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the sharer would read ", ids.size(), " tokens",
        num_positions == ids.size() ? "" : absl::StrCat(" at up to ", num_positions, " positions"),
        ": its model '", sharer.model(), "' has ", sharer.max_positions(), " positions"));
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && static_cast<uint32_t>(ids[i]) < sharer.vocab_size()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "token ", i, " for the sharer has id ", ids[i], ": the vocabulary of its model '",
        sharer.model(), "' has ", sharer.vocab_size(), " tokens"));
  }
  return absl::OkStatus();
}

TokenPairing::TokenPairing(const LanguageModel& receiver, const v1::ModelCard& sharer,
                           AlignmentStrategy strategy)
    : receiver_(receiver), sharer_(sharer), strategy_(strategy) {
  sharer_.clear_tokenizer_json();
  sharer_.clear_tokenizer_config_json();
  sharer_.clear_special_tokens_map_json();
  sharer_.clear_chat_template_jinja();
}

absl::StatusOr<TokenPairing> TokenPairing::Create(const LanguageModel& receiver,
                                                  const v1::ModelCard& sharer,
                                                  AlignmentStrategy strategy) {
  TokenPairing pairing(receiver, sharer, strategy);
  if (sharer.tokenizer_hash() != receiver.tokenizer.hash()) {
    RETURN_IF_ERROR(pairing.ReadTextFiles(sharer));
  }
  if (strategy != AlignmentStrategy::kFirst && strategy != AlignmentStrategy::kLongest) {
    return pairing;
  }
  if (sharer.chat_template_jinja().empty() && sharer.tokenizer_config_json().empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "chat_template_jinja is absent: alignment ", std::string(AlignmentStrategyName(strategy)),
        " needs the template of '", sharer.model(), "'"));
  }
  const TextFiles sharer_files = {.origin = sharer.model(),
                                  .tokenizer_config_json = sharer.tokenizer_config_json(),
                                  .special_tokens_map_json = sharer.special_tokens_map_json(),
                                  .chat_template_jinja = sharer.chat_template_jinja()};
  absl::StatusOr<ChatTemplate> sharer_template = ChatTemplate::FromFiles(sharer_files);
  if (!sharer_template.ok()) return AsFileError(sharer_template.status());
  pairing.sharer_template_ = *std::move(sharer_template);
  ASSIGN_OR_RETURN(const SpecialTokenNames sharer_names, ReadSpecialTokens(sharer_files));
  ASSIGN_OR_RETURN(const TextFiles receiver_files, TextFiles::Load(receiver.folder));
  ASSIGN_OR_RETURN(const SpecialTokenNames receiver_names, ReadSpecialTokens(receiver_files));
  const Tokenizer& sharer_tokenizer = pairing.sharer_tokenizer();
  ASSIGN_OR_RETURN(
      pairing.token_map_,
      TokenMap::Create({&receiver.tokenizer, SpecialIds::Of(receiver_names, receiver.tokenizer)},
                       {&sharer_tokenizer, SpecialIds::Of(sharer_names, sharer_tokenizer)},
                       strategy));
  return pairing;
}

absl::Status TokenPairing::ReadTextFiles(const v1::ModelCard& sharer) {
  if (sharer.tokenizer_json().empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "tokenizer_json is absent: the tokenizer of the sharer's model '", sharer.model(),
        "' is not that of the receiver's model '", receiver_.name, "'"));
  }
  absl::StatusOr<Tokenizer> tokenizer = Tokenizer::FromJson(
      sharer.tokenizer_json(), absl::StrCat("tokenizer_json of '", sharer.model(), "'"));
  if (!tokenizer.ok()) return AsFileError(tokenizer.status());
  if (tokenizer->hash() != sharer.tokenizer_hash()) {
    return absl::DataLossError(absl::StrCat("tokenizer_json of '", sharer.model(), "' has hash ",
                                            HashText(tokenizer->hash()), ": expected ",
                                            HashText(sharer.tokenizer_hash())));
  }
  own_tokenizer_ = std::make_unique<const Tokenizer>(*std::move(tokenizer));
  return absl::OkStatus();
}

absl::StatusOr<PairedPrompt> TokenPairing::Pair(const v1::Prompt& prompt,
                                                const std::vector<int32_t>& ids,
                                                const std::string& context) const {
  PairedPrompt paired;
  if (token_map_ && !prompt.messages().empty()) {
    ASSIGN_OR_RETURN(paired, PairConversation(prompt, context));
  } else {
    AlignedTokens aligned;
    if (token_map_) {
      ASSIGN_OR_RETURN(aligned, AlignOneByOne(prompt, ids, context));
    } else if (strategy_ == AlignmentStrategy::kSameIds && context.empty()) {
      aligned = AlignSameIds(ids);
    } else {
      ASSIGN_OR_RETURN(aligned, AlignSpansOf(prompt, context));
    }
    aligned.sharer_token.pop_back();  // the last prompt token is not fused
    paired.sharer = ReadingOf(aligned);
  }
  RETURN_IF_ERROR(CheckSharerReads(paired.sharer, sharer_));
  return paired;
}

absl::StatusOr<PairedPrompt> TokenPairing::PairConversation(const v1::Prompt& prompt,
                                                            const std::string& context) const {
  ASSIGN_OR_RETURN(AlignedChat chat,
                   AlignChat(MessagesOf(prompt), {&receiver_.tokenizer, &receiver_.chat_template},
                             {&sharer_tokenizer(), &*sharer_template_}, *token_map_,
                             {.enable_thinking = prompt.enable_thinking(),
                              .reply_prefix = prompt.reply_prefix()}));
  RETURN_IF_ERROR(CheckEnding(chat));
  PairedPrompt paired;
  paired.receiver.positions = UnlessConsecutive(std::move(chat.receiver_slots));
  paired.receiver.fused_ends = EndsOfMessages(chat.tokens.sharer_token);
  const auto& ends = paired.receiver.fused_ends;
  chat.tokens.sharer_token.resize(ends.empty() ? 0 : static_cast<size_t>(ends.back()));
  ASSIGN_OR_RETURN(const std::vector<int32_t> before, EncodeContext(prompt, context));
  PutBefore(before, chat.tokens);
  std::vector<uint32_t> positions(before.size());
  std::iota(positions.begin(), positions.end(), 0);
  for (const uint32_t slot : chat.sharer_slots) {
    positions.push_back(static_cast<uint32_t>(before.size()) + slot);
  }
  paired.sharer = ReadingOf(chat.tokens, positions);
  return paired;
}

absl::Status TokenPairing::CheckEnding(const AlignedChat& chat) const {
  const uint32_t end = chat.receiver_slots.back() + 1;
  if (end == chat.num_slots) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("alignment ", std::string(AlignmentStrategyName(strategy_)),
                   ": the chat template of '", receiver_.name, "' ends in ", chat.num_slots - end,
                   " tokens fewer than that of '", sharer_.model(),
                   "', so that the receiver would answer from a pad: expected alignment span, "
                   "or a reply_prefix"));
}

SpecialTokens TokenPairing::SpecialTokensFor(const v1::Prompt& prompt) const {
  return own_tokenizer_ ? SpecialTokens::kAdd : LanguageModel::SpecialTokensOf(prompt);
}

absl::StatusOr<AlignedTokens> TokenPairing::AlignSpansOf(const v1::Prompt& prompt,
                                                         const std::string& context) const {
  ASSIGN_OR_RETURN(const std::string text, receiver_.Render(prompt));
  ASSIGN_OR_RETURN(const EncodedText encoded, receiver_.tokenizer.EncodeWithOffsets(
                                                  text, LanguageModel::SpecialTokensOf(prompt)));
  return AlignSpans(text, encoded.offsets, sharer_tokenizer(),
                    {.context = context, .special = SpecialTokensFor(prompt)});
}

absl::StatusOr<AlignedTokens> TokenPairing::AlignOneByOne(const v1::Prompt& prompt,
                                                          const std::vector<int32_t>& ids,
                                                          const std::string& context) const {
  ASSIGN_OR_RETURN(AlignedTokens aligned, token_map_->Align(ids));
  ASSIGN_OR_RETURN(const std::vector<int32_t> before, EncodeContext(prompt, context));
  PutBefore(before, aligned);
  return aligned;
}

absl::StatusOr<std::vector<int32_t>> TokenPairing::EncodeContext(const v1::Prompt& prompt,
                                                                 const std::string& context) const {
  if (context.empty()) return std::vector<int32_t>();
  return sharer_tokenizer().Encode(context, SpecialTokensFor(prompt));
}

}  // namespace qc2c
