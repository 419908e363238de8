#include "common/codec/rotary.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/codec/vector_clones.h"

namespace qc2c {

absl::Status KeyRotation::Validate(const KvLayout& layout) const {
  if (layout.head_dim % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat("rotation: head_dim is ", layout.head_dim,
                                                   ": expected an even number to rotate"));
  }
  if (of_layer.size() != static_cast<size_t>(layout.num_layers)) {
    return absl::InvalidArgumentError(absl::StrCat("rotation.of_layer has ", of_layer.size(),
                                                   " entries: expected ", layout.num_layers));
  }
  for (size_t layer = 0; layer < of_layer.size(); ++layer) {
    if (of_layer[layer] < frequencies.size()) continue;
    return absl::InvalidArgumentError(absl::StrCat("rotation.of_layer[", layer, "] is ",
                                                   of_layer[layer], ": expected less than ",
                                                   frequencies.size()));
  }
  for (size_t i = 0; i < frequencies.size(); ++i) {
    if (frequencies[i].size() != static_cast<size_t>(layout.head_dim / 2)) {
      return absl::InvalidArgumentError(absl::StrCat("rotation.frequencies[", i, "] has ",
                                                     frequencies[i].size(), " numbers: expected ",
                                                     layout.head_dim / 2));
    }
    for (const float frequency : frequencies[i]) {
      if (std::isfinite(frequency) && frequency >= 0.0f) continue;
      return absl::InvalidArgumentError(absl::StrCat("rotation.frequencies[", i, "] holds ",
                                                     frequency,
                                                     ": expected finite numbers of at least 0"));
    }
  }
  return absl::OkStatus();
}

RotaryTable::RotaryTable(std::span<const float> frequencies, std::span<const uint32_t> positions)
    : half_(frequencies.size()) {
  cosines_.reserve(half_ * positions.size());
  sines_.reserve(half_ * positions.size());
  for (const uint32_t position : positions) {
    for (const float frequency : frequencies) {
      const double angle = static_cast<float>(position) * frequency;
      cosines_.push_back(static_cast<float>(std::cos(angle)));
      sines_.push_back(static_cast<float>(std::sin(angle)));
    }
  }
}

QC2C_VECTOR_CLONES void Unrotate(const float* cosines, const float* sines, size_t half,
                                 float* values) {
  for (size_t i = 0; i < half; ++i) {
    const float x1 = values[i];
    const float x2 = values[half + i];
    values[i] = x1 * cosines[i] + x2 * sines[i];
    values[half + i] = x2 * cosines[i] - x1 * sines[i];
  }
}

QC2C_VECTOR_CLONES void Rotate(const float* cosines, const float* sines, size_t half,
                               float* values) {
  for (size_t i = 0; i < half; ++i) {
    const float y1 = values[i];
    const float y2 = values[half + i];
    values[i] = y1 * cosines[i] - y2 * sines[i];
    values[half + i] = y2 * cosines[i] + y1 * sines[i];
  }
}

}  // namespace qc2c
