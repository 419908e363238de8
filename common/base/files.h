// Whole files in and out, with errors that name the path.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace qc2c {

// The content of a regular file. NOT_FOUND or DATA_LOSS, naming the path.
absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path);

// Replaces `path` atomically (a temporary file beside it, then a rename), so that a reader or a
// process killed half-way never sees a part. Creates missing parent folders.
absl::Status WriteFileAtomically(const std::filesystem::path& path, std::string_view content);

}  // namespace qc2c
