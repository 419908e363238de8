// The tables of a run folder.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"

namespace qc2c {

struct Report {
  std::string terminal;
  std::string markdown;
};

// A table a dataset from results/points.jsonl, then the points that are incomplete and why.
// NOT_FOUND, or DATA_LOSS naming the file.
absl::StatusOr<Report> MakeReport(const std::filesystem::path& run_folder);

}  // namespace qc2c
