// Where two JSON values differ.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace qc2c {

// The first field of `before` that `now` has not or has otherwise, with both values, e.g.
// `sharer.dtype was "fp32", is now "bf16"`; empty if there is none. What only `now` has is no
// difference.
std::string JsonDifference(const nlohmann::ordered_json& before, const nlohmann::ordered_json& now);

}  // namespace qc2c
