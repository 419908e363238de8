// A share's messages as a file; proto/FORMAT.md section "A share as a file".
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace qc2c {

// The serialized messages of the file, in order: either each behind its length as a varint
// (protobuf's delimited form), or one a line in hexadecimal (the golden frames). NOT_FOUND for a
// missing file; DATA_LOSS, naming the message, for a truncated one; INVALID_ARGUMENT for a length
// above a message's limit or a file without messages.
absl::StatusOr<std::vector<std::string>> ReadFrameFile(const std::filesystem::path& path);

}  // namespace qc2c
