#include "common/text/token_map.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

// UTF-8 text in characters, which all but continuation bytes begin.
size_t NumCharacters(std::string_view text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

// The special tokens with a part. A later row goes before an earlier one.
std::unordered_map<int32_t, int32_t> PartsTable(const SpecialIds& receiver,
                                                const SpecialIds& sharer) {
  const auto pad = [](const SpecialIds& ids) { return ids.pad ? ids.pad : ids.eos; };
  const std::pair<std::optional<int32_t>, std::optional<int32_t>> rows[] = {
      {pad(receiver), pad(sharer)},
      {receiver.eos, sharer.eos},
      {receiver.bos, sharer.bos},
      {receiver.unk, sharer.unk},
  };
  std::unordered_map<int32_t, int32_t> table;
  for (const auto& [from, to] : rows) {
    if (from && to) table[*from] = *to;
  }
  return table;
}

}  // namespace

struct TokenMap::State {
  Vocabulary receiver;
  Vocabulary sharer;
  AlignmentStrategy strategy;
  std::unordered_map<int32_t, int32_t> parts;  // of special tokens

  std::mutex mutex;
  std::unordered_map<int32_t, int32_t> known;  // guarded by mutex

  int32_t Unknown() const { return sharer.special.unk.value_or(0); }

  absl::StatusOr<int32_t> Find(int32_t id) const {
    ASSIGN_OR_RETURN(const std::string text,
                     receiver.tokenizer->Decode({id}, DecodeSpecial::kKeep));
    if (std::ranges::binary_search(receiver.special.all, id)) {
      if (const auto part = parts.find(id); part != parts.end()) return part->second;
      return sharer.tokenizer->TokenToId(text).value_or(Unknown());
    }
    ASSIGN_OR_RETURN(const std::vector<int32_t> pieces, sharer.tokenizer->Encode(text));
    if (pieces.empty()) return Unknown();
    return strategy == AlignmentStrategy::kFirst ? pieces.front() : Longest(pieces);
  }

  absl::StatusOr<int32_t> Longest(const std::vector<int32_t>& pieces) const {
    if (pieces.size() == 1) return pieces.front();
    int32_t longest = pieces.front();
    size_t most = 0;
    for (const int32_t piece : pieces) {
      ASSIGN_OR_RETURN(const std::string text,
                       sharer.tokenizer->Decode({piece}, DecodeSpecial::kKeep));
      if (const size_t size = NumCharacters(text); size > most) {
        most = size;
        longest = piece;
      }
    }
    return longest;
  }
};

TokenMap::TokenMap(std::unique_ptr<State> state) : state_(std::move(state)) {}
TokenMap::TokenMap(TokenMap&&) noexcept = default;
TokenMap& TokenMap::operator=(TokenMap&&) noexcept = default;
TokenMap::~TokenMap() = default;

absl::StatusOr<TokenMap> TokenMap::Create(Vocabulary receiver, Vocabulary sharer,
                                          AlignmentStrategy strategy) {
  if (strategy != AlignmentStrategy::kFirst && strategy != AlignmentStrategy::kLongest) {
    return absl::InvalidArgumentError(
        absl::StrCat("alignment ", std::string(AlignmentStrategyName(strategy)),
                     " maps no single tokens, expected first or longest"));
  }
  auto state = std::make_unique<State>();
  state->parts = PartsTable(receiver.special, sharer.special);
  state->receiver = std::move(receiver);
  state->sharer = std::move(sharer);
  state->strategy = strategy;
  return TokenMap(std::move(state));
}

absl::StatusOr<int32_t> TokenMap::Map(int32_t receiver_id) const {
  {
    const std::lock_guard lock(state_->mutex);
    if (const auto known = state_->known.find(receiver_id); known != state_->known.end()) {
      return known->second;
    }
  }
  ASSIGN_OR_RETURN(const int32_t sharer_id, state_->Find(receiver_id));
  const std::lock_guard lock(state_->mutex);
  state_->known.emplace(receiver_id, sharer_id);
  return sharer_id;
}

absl::StatusOr<AlignedTokens> TokenMap::Align(const std::vector<int32_t>& receiver_ids) const {
  AlignedTokens aligned = AlignSameIds(receiver_ids);
  for (int32_t& id : aligned.sharer_ids) {
    ASSIGN_OR_RETURN(id, Map(id));
  }
  return aligned;
}

}  // namespace qc2c
