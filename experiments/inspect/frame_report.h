// What a share's messages hold, and whether a reader would take them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/codec/klt_codebook.h"

namespace qc2c {

// Header, codec, trailer, every block with its sizes, the bytes by what they carry, and "verdict":
// "complete" or the error of a FrameReader that expects what the header says (a wrong checksum
// among them). INVALID_ARGUMENT if the first message has no header that parses. A frame of klt is
// reported by ReportKltFrame; only that needs a codebook.
absl::StatusOr<nlohmann::ordered_json> ReportFrame(const std::vector<std::string>& messages,
                                                   const KltCodebook* codebook = nullptr);

}  // namespace qc2c
