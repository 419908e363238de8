// `qc2c calibrate`: makes the codebook of a pair of models.
#pragma once

#include <CLI/CLI.hpp>

#include "absl/status/status.h"

namespace qc2c {

// The command's outcome goes to `result`.
void AddCalibrateCommand(CLI::App& app, absl::Status* result);

}  // namespace qc2c
