// What the prompts of a calibration have in common: how they begin and how they end. A chat
// template and the words around a question are the same in every prompt, so that their cache is
// known (the beginning exactly, as a token's cache depends on what is before it alone) or nearly
// known (the end).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace qc2c {

// What a sharer reads, and whose cache is wanted of it. Borrowed.
struct KltPrompt {
  std::span<const int32_t> ids;         // sharer tokens
  std::span<const uint32_t> positions;  // of the wanted tokens, indices into ids, ascending

  size_t num_tokens() const { return positions.size(); }
};

struct KltTemplate {
  std::vector<int32_t> prefix_ids;         // the first ids, up to the last wanted one among them
  std::vector<uint32_t> prefix_positions;  // of the wanted tokens there: P of them
  std::vector<int32_t> tail_ids;           // of the last R wanted tokens
  std::vector<uint32_t> tail_distances;    // of each to the last wanted token; descending, last 0

  size_t num_prefix() const { return prefix_positions.size(); }
  size_t num_tail() const { return tail_ids.size(); }

  // The longest prefix, then the longest tail, that all prompts share and that overlap in none.
  // INVALID_ARGUMENT if there is no prompt, or one without wanted tokens.
  static absl::StatusOr<KltTemplate> Of(const std::vector<KltPrompt>& prompts);

  // INVALID_ARGUMENT naming the first token that is another than here, or both lengths.
  absl::Status Match(const KltPrompt& prompt) const;
  // INVALID_ARGUMENT naming the field that contradicts itself.
  absl::Status Validate() const;

  bool operator==(const KltTemplate&) const = default;
};

}  // namespace qc2c
