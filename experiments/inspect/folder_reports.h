// What a model's or a fuser's folder holds. Both are loaded as a daemon would, so that a report
// means that the folder is sound.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"

namespace qc2c {

// Architecture, layout, sizes, rotary embedding, files, parameters, tokenizer and fingerprints.
// Errors as those of Model::Load and Tokenizer::Load; a folder without a tokenizer is no error.
absl::StatusOr<nlohmann::ordered_json> ReportModel(const std::filesystem::path& folder);

// The pair that a published folder's config.json names, sizes, parameters, and for each receiver
// layer the sharer layer that it reads and its gates. Errors as those of Fuser::Load.
absl::StatusOr<nlohmann::ordered_json> ReportFuser(const std::filesystem::path& folder);

}  // namespace qc2c
