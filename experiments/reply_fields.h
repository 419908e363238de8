// What a reply counts, by the names that predictions and `qc2c ask --json` give it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "qc2c/v1/receiver.pb.h"

namespace qc2c {

// Without the total, which stands beside it.
nlohmann::ordered_json BytesToJson(const v1::ByteCounts& bytes);

struct StageTime {
  const char* name;
  uint64_t microseconds;
};
// In the order in which a question goes through them.
std::vector<StageTime> StagesOf(const v1::StageTimes& times);

}  // namespace qc2c
