// A line on stderr that says how far a training run is, and the log that keeps its losses.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "experiments/train/objective.h"

namespace qc2c {

// On a terminal one line that is rewritten; elsewhere a line every few seconds. Not thread-safe.
class Progress {
 public:
  Progress(std::string name, int64_t first_step, int64_t total_steps);
  void Show(int64_t steps_done, double loss);
  double Seconds() const;  // since construction

 private:
  std::string name_;
  int64_t first_step_, total_steps_;
  std::chrono::steady_clock::time_point start_, shown_;
};

struct LossRecord {
  int64_t step = 0;  // steps done
  double loss = 0, grad_norm = 0, lr_scale = 0, seconds = 0;
};

class LossLog {
 public:
  // Opens `path` for appending and drops the lines of steps after `step`.
  static absl::StatusOr<LossLog> Open(const std::filesystem::path& path, int64_t step);
  absl::Status Write(const LossRecord& record);
  absl::Status Write(int64_t step, const Accuracy& check);

 private:
  explicit LossLog(std::ofstream file) : file_(std::move(file)) {}
  absl::Status WriteLine(const std::string& line);
  std::ofstream file_;
};

}  // namespace qc2c
