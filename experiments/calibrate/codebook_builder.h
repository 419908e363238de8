// From calibration caches to a codebook's file.
#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/codec/klt_codebook.h"
#include "common/fuser/fuser.h"
#include "experiments/calibrate/answer_fisher.h"
#include "experiments/calibrate/calibration_caches.h"
#include "experiments/calibrate/fuser_metric.h"

namespace qc2c {

struct CalibrationInput {
  const std::vector<CalibrationPrompt>& prompts;
  const std::vector<CalibrationCache>& caches;  // of the prompts
  const Fuser& fuser;                           // in fp32
  std::string sharer_model;
  uint64_t sharer_fingerprint = 0;
  KvLayout layout;
  KvLayerSet layers;
  KeyRotation rotation;
  // Of the prompts; null: errors are weighed behind the fuser's first matrix alone.
  const std::vector<AnswerGradients>* gradients = nullptr;
  double ridge = 0;       // beside gradients: the share of the fuser's metric
  std::string questions;  // what the prompts were made of, for whoever reads the file
};

struct BuiltCodebook {
  KltCodebook codebook;
  std::array<FuserMetric, 2> metrics;  // by Half: behind the fuser's first matrix
};

// Writes the file and reads it back as a daemon would. INVALID_ARGUMENT if the prompts have no
// middle, or fewer than 16 of them.
absl::StatusOr<BuiltCodebook> BuildCodebook(const CalibrationInput& input,
                                            const std::filesystem::path& path);

}  // namespace qc2c
