// `qc2c means`: writes the calibration file of `mean=calibrated`.
#pragma once

#include "absl/status/status.h"

namespace CLI {
class App;
}

namespace qc2c {

// Adds `means` to `app`. When the parsed command line names it, it runs during CLI::App::parse and
// leaves its result in `*result`, which must outlive `app`.
void AddMeansCommand(CLI::App& app, absl::Status* result);

}  // namespace qc2c
