// What a message of the scheme klt holds.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/codec/klt_codebook.h"
#include "qc2c/v1/cache.pb.h"

namespace qc2c {

// Codebook, level, tokens, the bytes by what they carry, and "verdict" as ReportFrame's. Without
// the codebook only the checksum is proved. With it also the level's steps and, by part, rows,
// coefficients, how many are not zero, and the bytes that their symbols take. REQUIRES: `header` is
// the one of messages[0], and its scheme is klt.
absl::StatusOr<nlohmann::ordered_json> ReportKltFrame(const std::vector<std::string>& messages,
                                                      const v1::CacheHeader& header,
                                                      const KltCodebook* codebook);

}  // namespace qc2c
