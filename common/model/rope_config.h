// Rotary position embedding as config.json describes it, in the spellings of transformers 4
// (`rope_theta` beside `rope_scaling`) and 5 (both in `rope_parameters`).
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/model/json_fields.h"

namespace qc2c {

inline constexpr double kMaxRopeTheta = std::numeric_limits<float>::max();

// rope_type "llama3": slow rotations are slowed down further, so that a longer context fits.
struct Llama3RopeScaling {
  double factor = 1.0;                // >= 1: divides the frequencies that turn too slowly
  double low_freq_factor = 1.0;       // below original_positions / wavelength of this: divided
  double high_freq_factor = 4.0;      // above this: kept; in between: interpolated
  int32_t original_positions = 8192;  // the context before scaling

  bool operator==(const Llama3RopeScaling&) const = default;
};

struct RopeConfig {
  double theta = 10000.0;
  std::optional<Llama3RopeScaling> llama3;

  bool operator==(const RopeConfig&) const = default;
};

// Reads the object `json` (rope_scaling, or rope_parameters, or one layer type of the latter) over
// `defaults`. INVALID_ARGUMENT naming the field: every field changes the rotation, so that one that
// is not understood is refused. `max_positions` is the context that an absent
// original_max_position_embeddings means.
absl::StatusOr<RopeConfig> ReadRope(const JsonFields& json, const RopeConfig& defaults,
                                    int32_t max_positions);

// What `rope_scaling` holds for it; null without scaling.
nlohmann::ordered_json RopeScalingJson(const RopeConfig& rope);

}  // namespace qc2c
