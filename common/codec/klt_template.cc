#include "common/codec/klt_template.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

// How many of the first `limit` wanted tokens are the same in both, with all ids before them.
size_t CommonPrefix(const KltPrompt& a, const KltPrompt& b, size_t limit) {
  size_t count = 0;
  uint32_t id = 0;
  for (; count < limit && a.positions[count] == b.positions[count]; ++count) {
    for (; id <= a.positions[count]; ++id) {
      if (a.ids[id] != b.ids[id]) return count;
    }
  }
  return count;
}

// The i-th wanted token from the end: its id and its distance to the last one.
struct FromEnd {
  int32_t id;
  uint32_t distance;
  bool operator==(const FromEnd&) const = default;
};

FromEnd TokenFromEnd(const KltPrompt& prompt, size_t i) {
  const uint32_t position = prompt.positions[prompt.num_tokens() - 1 - i];
  return {prompt.ids[position], prompt.positions.back() - position};
}

size_t CommonTail(const KltPrompt& a, const KltPrompt& b, size_t limit) {
  size_t count = 0;
  while (count < limit && TokenFromEnd(a, count) == TokenFromEnd(b, count)) ++count;
  return count;
}

absl::Status Differs(const std::string& where, int64_t found, int64_t expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("the prompt does not fit the codebook's template: ", where, " is ", found,
                   ": expected ", expected));
}

}  // namespace

absl::StatusOr<KltTemplate> KltTemplate::Of(const std::vector<KltPrompt>& prompts) {
  if (prompts.empty()) return absl::InvalidArgumentError("no prompts to calibrate with");
  size_t shortest = prompts.front().num_tokens();
  for (const KltPrompt& prompt : prompts) shortest = std::min(shortest, prompt.num_tokens());
  if (shortest == 0) return absl::InvalidArgumentError("a prompt without wanted tokens");
  const KltPrompt& first = prompts.front();
  size_t prefix = shortest;
  for (const KltPrompt& prompt : prompts) prefix = CommonPrefix(first, prompt, prefix);
  size_t tail = shortest - prefix;
  for (const KltPrompt& prompt : prompts) tail = CommonTail(first, prompt, tail);

  KltTemplate common;
  common.prefix_positions.assign(first.positions.begin(), first.positions.begin() + prefix);
  const size_t num_ids = prefix == 0 ? 0 : common.prefix_positions.back() + 1;
  common.prefix_ids.assign(first.ids.begin(), first.ids.begin() + num_ids);
  for (size_t i = tail; i-- > 0;) {
    const FromEnd token = TokenFromEnd(first, i);
    common.tail_ids.push_back(token.id);
    common.tail_distances.push_back(token.distance);
  }
  return common;
}

absl::Status KltTemplate::Match(const KltPrompt& prompt) const {
  const size_t num_tokens = prompt.num_tokens();
  if (num_tokens < num_prefix() + num_tail()) {
    return Differs("the number of its tokens", static_cast<int64_t>(num_tokens),
                   static_cast<int64_t>(num_prefix() + num_tail()));
  }
  if (prompt.ids.size() < prefix_ids.size()) {
    return Differs("the number of ids that it begins with", static_cast<int64_t>(prompt.ids.size()),
                   static_cast<int64_t>(prefix_ids.size()));
  }
  for (size_t i = 0; i < prefix_ids.size(); ++i) {
    if (prompt.ids[i] == prefix_ids[i]) continue;
    return Differs(absl::StrCat("id ", i), prompt.ids[i], prefix_ids[i]);
  }
  for (size_t i = 0; i < num_prefix(); ++i) {
    if (prompt.positions[i] == prefix_positions[i]) continue;
    return Differs(absl::StrCat("the position of wanted token ", i), prompt.positions[i],
                   prefix_positions[i]);
  }
  for (size_t i = 0; i < num_tail(); ++i) {
    const size_t back = num_tail() - 1 - i;
    const FromEnd token = TokenFromEnd(prompt, back);
    const std::string where = absl::StrCat("of the wanted token ", back + 1, " from the end");
    if (token.id != tail_ids[i])
      return Differs(absl::StrCat("the id ", where), token.id, tail_ids[i]);
    if (token.distance != tail_distances[i]) {
      return Differs(absl::StrCat("the distance to the last ", where), token.distance,
                     tail_distances[i]);
    }
  }
  return absl::OkStatus();
}

absl::Status KltTemplate::Validate() const {
  const auto refuse = [](const char* what) { return absl::InvalidArgumentError(what); };
  if (prefix_ids.size() != (prefix_positions.empty() ? 0 : prefix_positions.back() + 1)) {
    return refuse("prefix_ids does not end with the last of prefix_positions");
  }
  for (size_t i = 1; i < prefix_positions.size(); ++i) {
    if (prefix_positions[i] <= prefix_positions[i - 1]) {
      return refuse("prefix_positions does not ascend");
    }
  }
  if (tail_distances.size() != tail_ids.size()) {
    return refuse("tail_distances and tail_ids have different lengths");
  }
  if (!tail_distances.empty() && tail_distances.back() != 0) {
    return refuse("tail_distances does not end with 0");
  }
  for (size_t i = 1; i < tail_distances.size(); ++i) {
    if (tail_distances[i] >= tail_distances[i - 1])
      return refuse("tail_distances does not descend");
  }
  return absl::OkStatus();
}

}  // namespace qc2c
