#include "common/codec/zero_point.h"

#include <cmath>
#include <limits>
#include <vector>

#include "common/codec/scaled_scheme.h"

namespace qc2c {
namespace {

struct Range {
  float min = std::numeric_limits<float>::infinity();
  float max = -std::numeric_limits<float>::infinity();
};

// Calls visit(value, index of its scale) for every value of the block.
template <typename Visit>
void ForEachValue(const Scaling& scaling, const BlockRows& rows, Visit visit) {
  const auto num_heads = static_cast<uint64_t>(rows.num_heads);
  const auto head_dim = static_cast<uint64_t>(rows.head_dim);
  for (size_t i = 0; i < rows.positions.size(); ++i) {
    for (int32_t h = 0; h < rows.num_heads; ++h) {
      auto* const row = reinterpret_cast<float*>(rows.Row(i, h));
      for (uint64_t d = 0; d < head_dim; ++d) {
        visit(row[d], ScaleIndex(scaling, i, h, d, num_heads, head_dim));
      }
    }
  }
}

}  // namespace

BlockFaults TakeZeroPoints(const Scaling& scaling, const BlockRows& rows,
                           MutableByteSpan zero_points) {
  std::vector<Range> ranges(zero_points.size() / ScaleBytes(scaling.type));
  ForEachValue(scaling, rows, [&](float value, uint64_t index) {
    Range& range = ranges[index];
    if (value < range.min) range.min = value;
    if (value > range.max) range.max = value;
  });
  BlockFaults faults = 0;
  std::vector<float> stored(ranges.size());
  for (size_t i = 0; i < ranges.size(); ++i) {
    if (!std::isfinite(ranges[i].min) || !std::isfinite(ranges[i].max)) {
      faults |= kNotFinite;
      continue;
    }
    // The last sum makes a zero of either sign +0.
    const float middle = 0.5f * ranges[i].min + 0.5f * ranges[i].max + 0.0f;
    StoreScale(middle, scaling.type, i, zero_points);
    const float rounded = LoadScale(zero_points, i, scaling.type);
    // Infinity taken off would look like a value that is not finite.
    if (std::isfinite(rounded)) {
      stored[i] = rounded;
    } else {
      faults |= kOutOfRange;
    }
  }
  ForEachValue(scaling, rows, [&](float& value, uint64_t index) { value -= stored[index]; });
  return faults;
}

void AddZeroPoints(const Scaling& scaling, const BlockRows& rows, ByteSpan zero_points) {
  std::vector<float> stored(zero_points.size() / ScaleBytes(scaling.type));
  for (size_t i = 0; i < stored.size(); ++i) stored[i] = LoadScale(zero_points, i, scaling.type);
  ForEachValue(scaling, rows, [&](float& value, uint64_t index) { value += stored[index]; });
}

}  // namespace qc2c
