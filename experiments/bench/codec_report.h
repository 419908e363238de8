// Codec measurements as a table and as JSON lines.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "experiments/bench/codec_measurement.h"
#include "experiments/text_table.h"
#include "nlohmann/json.hpp"

namespace qc2c {

struct CodecResult {
  CodecMeasurement sums;
  absl::Status refused;  // the codec's error, where it could not encode a cache
};

// Every scheme with every axis, each as it is and, where they apply, with rANS and zstd.
std::vector<CodecSpec> AllCodecs();

// A row a codec.
TextTable CodecTable(const std::vector<CodecResult>& results);

// An object a codec: its text, bytes by part, bits a value, errors, times.
nlohmann::ordered_json CodecJson(const CodecResult& result);

}  // namespace qc2c
