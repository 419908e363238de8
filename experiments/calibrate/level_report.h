// What each level of a codebook costs and loses, by really encoding caches.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/codec/klt_codebook.h"
#include "experiments/calibrate/calibration_caches.h"
#include "experiments/calibrate/fuser_metric.h"

namespace qc2c {

struct LevelRow {
  double mean_bytes = 0;  // of the whole message
  size_t max_bytes = 0;
  // The squared error of the kept tokens behind the fuser's first matrix, as a share of that of the
  // codebook's means.
  double error = 0;
};

// A row a level. `metrics` by Half. INVALID_ARGUMENT for a prompt that does not fit the codebook.
absl::StatusOr<std::vector<LevelRow>> MeasureLevels(const KltCodebook& codebook,
                                                    const std::array<FuserMetric, 2>& metrics,
                                                    const std::vector<CalibrationPrompt>& prompts,
                                                    const std::vector<CalibrationCache>& caches);

// A table for the terminal.
std::string LevelTable(const KltCodebook& codebook, const std::vector<LevelRow>& rows);

}  // namespace qc2c
