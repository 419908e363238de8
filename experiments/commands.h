// The subcommands of `qc2c`. Each Add function adds one to `app`; its callback does the work and
// throws CLI::RuntimeError with the exit status unless all went well.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "absl/status/status.h"

namespace qc2c {

void AddAskCommand(CLI::App& app);
void AddEvalCommand(CLI::App& app, const std::string& command_line);
void AddDemoCommand(CLI::App& app, const std::string& command_line);
void AddRealCommand(CLI::App& app, const std::string& command_line);
void AddReportCommand(CLI::App& app);
void AddPlotCommand(CLI::App& app);
void AddFetchCommand(CLI::App& app);

// Prints the error as the program's last word and throws; returns if `status` is OK.
void ExitUnlessOk(const std::string& command, const absl::Status& status);

}  // namespace qc2c
