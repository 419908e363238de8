// What a share's messages hold, and whether a reader would take them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace qc2c {

// Header, codec, trailer, every block with its sizes, the bytes by what they carry, and "verdict":
// "complete" or the error of a FrameReader that expects what the header says (a wrong checksum
// among them). INVALID_ARGUMENT if the first message has no header that parses.
absl::StatusOr<nlohmann::ordered_json> ReportFrame(const std::vector<std::string>& messages);

}  // namespace qc2c
