// `qc2c inspect`: the subcommands fuse, model, fuser and frame.
#pragma once

#include "absl/status/status.h"

namespace CLI {
class App;
}

namespace qc2c {

// Adds `inspect` to `app`. When the parsed command line names one of its subcommands, it runs
// during CLI::App::parse and leaves its result in `*result`, which must outlive `app`.
void AddInspectCommand(CLI::App& app, absl::Status* result);

}  // namespace qc2c
