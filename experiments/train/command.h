// `qc2c train`: the subcommands lm, fuser and check.
#pragma once

#include <functional>

#include "absl/status/status.h"

namespace CLI {
class App;
}

namespace qc2c {

// Adds `train` to `app`. When the parsed command line names one of its subcommands, it runs during
// CLI::App::parse and leaves its result in `*result`, which must outlive `app`. Training that
// `stop_requested` interrupts writes a checkpoint and ends with CANCELLED.
void AddTrainCommand(CLI::App& app, std::function<bool()> stop_requested, absl::Status* result);

}  // namespace qc2c
