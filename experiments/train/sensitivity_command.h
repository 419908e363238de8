// `qc2c sensitivity`: measures what each tensor of a sharer's cache is worth to the answer.
#pragma once

#include <CLI/CLI.hpp>

#include "absl/status/status.h"

namespace qc2c {

// Adds the subcommand; after parsing, `result` says how it went. Both outlive the parsing.
void AddSensitivityCommand(CLI::App& app, absl::Status* result);

}  // namespace qc2c
