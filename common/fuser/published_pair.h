// config.json of a published fuser: the recipe of the pair that it was trained for.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace qc2c {

struct PublishedPair {
  std::string base_model;                   // the receiver: a hub id or a path; empty if absent
  std::vector<std::string> teacher_models;  // the sharers, in the file's order; empty if absent
  // kNone: both models read the receiver's ids. kTokens: is_do_alignment is true, the sharer reads
  // tokens of its own vocabulary.
  enum class Alignment { kNone, kTokens } alignment = Alignment::kNone;
  // "first" or "longest"; this project's trainer also writes "span" and "same_ids"; empty if absent
  std::string alignment_strategy;
};

// Reads the object "model" of FOLDER/config.json, or of FOLDER/../config.json where FOLDER holds
// the projectors themselves. Without the file or the object the pair is empty. INVALID_ARGUMENT
// naming a field of a wrong type or an unknown strategy.
absl::StatusOr<PublishedPair> ReadPublishedPair(const std::filesystem::path& folder);

}  // namespace qc2c
