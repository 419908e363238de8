// The learning rate's course: linear warm-up, then half a cosine.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace qc2c {

// The share of the peak at `step` (0-based) of `total`: (step + 1) / warmup during the warm-up,
// times a cosine that starts at 1 with step 0 and would reach `final_ratio` at step `total`.
inline double WarmupCosine(int64_t step, int64_t total, int64_t warmup, double final_ratio) {
  const double progress = static_cast<double>(step) / static_cast<double>(total);
  const double cosine = 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  const double rise =
      warmup > 0 ? std::min(1.0, static_cast<double>(step + 1) / static_cast<double>(warmup)) : 1.0;
  return rise * (final_ratio + (1.0 - final_ratio) * cosine);
}

// T0 x (T1 / T0)^min(step / total, 1): the gates' temperature at `step`, as C2C anneals it.
inline double AnnealedTemperature(int64_t step, int64_t total, double initial, double final) {
  const double progress = std::min(1.0, static_cast<double>(step) / static_cast<double>(total));
  return initial * std::pow(final / initial, progress);
}

}  // namespace qc2c
