#include "common/text/alignment.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

constexpr std::pair<AlignmentStrategy, std::string_view> kNames[] = {
    {AlignmentStrategy::kSameIds, "same_ids"},
    {AlignmentStrategy::kFirst, "first"},
    {AlignmentStrategy::kLongest, "longest"},
    {AlignmentStrategy::kSpan, "span"},
};

// Where a sharer token ends in context + text.
struct TokenEnd {
  size_t end;
  int32_t token;
};

// The ends of the sharer's tokens in the order of the text. Tokens that the post-processor added
// name no bytes and are left out.
std::vector<TokenEnd> SortedEnds(const EncodedText& sharer) {
  std::vector<TokenEnd> ends;
  for (size_t i = 0; i < sharer.ids.size(); ++i) {
    if (sharer.offsets[i].end > 0) ends.push_back({sharer.offsets[i].end, static_cast<int32_t>(i)});
  }
  std::ranges::stable_sort(ends, {}, &TokenEnd::end);
  return ends;
}

}  // namespace

absl::StatusOr<AlignmentStrategy> ParseAlignmentStrategy(std::string_view name) {
  for (const auto& [strategy, known] : kNames) {
    if (known == name) return strategy;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "alignment is '", std::string(name), "', expected one of same_ids, first, longest, span"));
}

std::string_view AlignmentStrategyName(AlignmentStrategy strategy) {
  return std::ranges::find(kNames, strategy, &std::pair<AlignmentStrategy, std::string_view>::first)
      ->second;
}

AlignedTokens AlignSameIds(const std::vector<int32_t>& receiver_ids) {
  AlignedTokens aligned{.sharer_ids = receiver_ids,
                        .sharer_token = std::vector<int32_t>(receiver_ids.size())};
  std::iota(aligned.sharer_token.begin(), aligned.sharer_token.end(), 0);
  return aligned;
}

absl::StatusOr<AlignedTokens> AlignSpans(std::string_view text,
                                         const std::vector<EncodedText::Range>& receiver_tokens,
                                         const Tokenizer& sharer, const SpanOptions& options) {
  const std::string sharer_text = std::string(options.context) + std::string(text);
  ASSIGN_OR_RETURN(EncodedText encoded, sharer.EncodeWithOffsets(sharer_text, options.special));
  if (encoded.ids.empty() && !receiver_tokens.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("the sharer's tokenizer makes no token of the ",
                                                   sharer_text.size(), " bytes that it reads"));
  }
  const std::vector<TokenEnd> ends = SortedEnds(encoded);
  AlignedTokens aligned{.sharer_ids = std::move(encoded.ids)};
  aligned.sharer_token.reserve(receiver_tokens.size());
  for (size_t i = 0; i < receiver_tokens.size(); ++i) {
    const auto& [begin, end] = receiver_tokens[i];
    if (begin > end || end > text.size()) {
      return absl::InvalidArgumentError(absl::StrCat("receiver token ", i, " is bytes [", begin,
                                                     ", ", end, ") of a text of ", text.size()));
    }
    const auto later =
        std::ranges::upper_bound(ends, options.context.size() + end, {}, &TokenEnd::end);
    aligned.sharer_token.push_back(later == ends.begin() ? 0 : std::prev(later)->token);
  }
  return aligned;
}

}  // namespace qc2c
