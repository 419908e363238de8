// Draws the curve, by experiments/plot.py.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace qc2c {

struct PlotOptions {
  std::string python = "python3";
  std::vector<std::string> folders;
  std::string out;  // empty: results/ of the first folder
};

// `--python`, or $QC2C_PYTHON.
void AddPythonFlag(CLI::App& command, std::string& python);

// Writes curve.png and curve.pdf and prints where. UNAVAILABLE if Python has no matplotlib.
absl::Status Plot(const PlotOptions& options);

}  // namespace qc2c
