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

std::vector<uint32_t> SharerReading::Positions() const {
  if (!tokens.empty()) return tokens;
  std::vector<uint32_t> all(ids.size());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

SharerReading ReadingOf(const AlignedTokens& aligned) {
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
  if (reading.tokens.size() == reading.ids.size()) reading.tokens.clear();
  return reading;
}

std::vector<int32_t> PairFromTheEnd(const std::vector<int32_t>& slots, size_t num_slots) {
  std::vector<int32_t> paired(num_slots, -1);
  const size_t common = std::min(slots.size(), num_slots);
  std::copy(slots.end() - common, slots.end(), paired.end() - common);
  return paired;
}

absl::Status CheckSharerIds(const std::vector<int32_t>& ids, const v1::ModelCard& sharer) {
  if (ids.empty()) {
    return absl::InvalidArgumentError("no sharer token is paired with a token of the prompt");
  }
  if (ids.size() > sharer.max_positions()) {
    return absl::InvalidArgumentError(absl::StrCat("the sharer would read ", ids.size(),
                                                   " tokens: its model '", sharer.model(), "' has ",
                                                   sharer.max_positions(), " positions"));
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
  ASSIGN_OR_RETURN(const TextFiles receiver_files, TextFiles::Load(receiver.folder));
  ASSIGN_OR_RETURN(const SpecialTokenNames receiver_names, ReadSpecialTokens(receiver_files));
  SpecialTokenNames sharer_names = receiver_names;
  if (pairing.own_tokenizer_) {
    ASSIGN_OR_RETURN(
        sharer_names,
        ReadSpecialTokens({.origin = sharer.model(),
                           .tokenizer_config_json = sharer.tokenizer_config_json(),
                           .special_tokens_map_json = sharer.special_tokens_map_json()}));
  }
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

absl::StatusOr<SharerReading> TokenPairing::Pair(const v1::Prompt& prompt,
                                                 const std::vector<int32_t>& ids,
                                                 const std::string& context) const {
  AlignedTokens aligned;
  if (token_map_) {
    ASSIGN_OR_RETURN(aligned, AlignOneByOne(prompt, ids, context));
  } else if (strategy_ == AlignmentStrategy::kSameIds && context.empty()) {
    aligned = AlignSameIds(ids);
  } else {
    ASSIGN_OR_RETURN(aligned, AlignSpansOf(prompt, context));
  }
  aligned.sharer_token.pop_back();  // the last prompt token is not fused
  SharerReading reading = ReadingOf(aligned);
  RETURN_IF_ERROR(CheckSharerIds(reading.ids, sharer_));
  return reading;
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
  if (context.empty()) return aligned;
  ASSIGN_OR_RETURN(const std::vector<int32_t> before,
                   sharer_tokenizer().Encode(context, SpecialTokensFor(prompt)));
  aligned.sharer_ids.insert(aligned.sharer_ids.begin(), before.begin(), before.end());
  for (int32_t& token : aligned.sharer_token) {
    if (token >= 0) token += static_cast<int32_t>(before.size());
  }
  return aligned;
}

}  // namespace qc2c
