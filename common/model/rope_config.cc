#include "common/model/rope_config.h"

#include <algorithm>
#include <string>

#include "common/base/status_macros.h"

namespace qc2c {
namespace {

constexpr double kMax = kMaxRopeTheta;

absl::StatusOr<Llama3RopeScaling> ReadLlama3(const JsonFields& json, int32_t max_positions) {
  Llama3RopeScaling scaling;
  ASSIGN_OR_RETURN(scaling.factor, json.Double("factor", 1.0, kMax));
  ASSIGN_OR_RETURN(scaling.low_freq_factor, json.Double("low_freq_factor", 1e-6, kMax));
  ASSIGN_OR_RETURN(scaling.high_freq_factor, json.Double("high_freq_factor", 1e-6, kMax));
  if (scaling.high_freq_factor <= scaling.low_freq_factor) {
    return json.Wrong("high_freq_factor", "more than low_freq_factor");
  }
  ASSIGN_OR_RETURN(scaling.original_positions,
                   json.IntOr("original_max_position_embeddings", 1, max_positions, max_positions));
  return scaling;
}

// Both spellings of the type; "default" if neither is there.
absl::StatusOr<std::string> ReadType(const JsonFields& json) {
  std::string type = "default";
  for (const char* key : {"type", "rope_type"}) {
    if (!json.Has(key)) continue;
    ASSIGN_OR_RETURN(type, json.Text(key));
    if (type != "default" && type != "llama3") {
      return json.Wrong(key, "\"default\" or \"llama3\"");
    }
  }
  return type;
}

}  // namespace

absl::StatusOr<RopeConfig> ReadRope(const JsonFields& json, const RopeConfig& defaults,
                                    int32_t max_positions) {
  RopeConfig rope = defaults;
  ASSIGN_OR_RETURN(const std::string type, ReadType(json));
  ASSIGN_OR_RETURN(rope.theta, json.DoubleOr("rope_theta", 1.0, kMax, rope.theta));
  RETURN_IF_ERROR(json.ExpectAbsentOr("partial_rotary_factor", 1.0));
  if (type == "llama3") {
    ASSIGN_OR_RETURN(rope.llama3, ReadLlama3(json, max_positions));
  }
  static constexpr const char* kAlways[] = {"type", "rope_type", "rope_theta",
                                            "partial_rotary_factor"};
  static constexpr const char* kOfLlama3[] = {"factor", "low_freq_factor", "high_freq_factor",
                                              "original_max_position_embeddings"};
  for (const auto& [key, value] : json.object().items()) {
    const auto is_key = [&key = key](const char* known) { return key == known; };
    const bool is_known =
        std::any_of(std::begin(kAlways), std::end(kAlways), is_key) ||
        (type == "llama3" && std::any_of(std::begin(kOfLlama3), std::end(kOfLlama3), is_key));
    if (!is_known && json.Has(key)) {
      return json.Wrong(key, "nothing: not understood for rope_type \"" + type + "\"");
    }
  }
  return rope;
}

nlohmann::ordered_json RopeScalingJson(const RopeConfig& rope) {
  if (!rope.llama3) return nullptr;
  return {{"rope_type", "llama3"},
          {"factor", rope.llama3->factor},
          {"low_freq_factor", rope.llama3->low_freq_factor},
          {"high_freq_factor", rope.llama3->high_freq_factor},
          {"original_max_position_embeddings", rope.llama3->original_positions}};
}

}  // namespace qc2c
