// qc2c: the experiment driver. Asks questions of a receiver, scores the answers, draws accuracy
// against the bytes that crossed.
//   qc2c demo                                    everything, with daemons of its own
//   qc2c ask --receiver ADDR TEXT                one question
//   qc2c eval --receiver ADDR --recipe FILE      a recipe against running daemons
//   qc2c inspect model DIR                       what a model, a fuser or a frame holds
//   qc2c calibrate --sharer DIR ...              the codebook of the scheme klt for a pair
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "common/rpc/exit_code.h"
#include "experiments/bench/command.h"
#include "experiments/calibrate/command.h"
#include "experiments/commands.h"
#include "experiments/flag_file.h"
#include "experiments/inspect/command.h"
#include "experiments/means/command.h"
#include "experiments/stop_signal.h"
#include "experiments/train/command.h"
#include "experiments/train/sensitivity_command.h"

namespace {

// Training has recipes of its own, with its own --config.
bool TakesFlagFile(const std::vector<std::string>& arguments) {
  return !arguments.empty() && arguments.front() != "train";
}

int Run(const std::vector<std::string>& typed, const std::string& command_line) {
  CLI::App app("Measures what the bytes between two language models buy.", "qc2c");
  app.require_subcommand(1);
  app.set_version_flag("--version", "qc2c " QC2C_VERSION);
  app.option_defaults()->always_capture_default();
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.footer(
      "ask, eval, demo, report, plot and fetch also take --config FILE: a YAML map of their "
      "flags.");
  absl::Status inspected, averaged, trained, measured, calibrated;
  qc2c::AddDemoCommand(app, command_line);
  qc2c::AddRealCommand(app, command_line);
  qc2c::AddAskCommand(app);
  qc2c::AddEvalCommand(app, command_line);
  qc2c::AddReportCommand(app);
  qc2c::AddPlotCommand(app);
  qc2c::AddFetchCommand(app);
  qc2c::AddBenchCommand(app);
  qc2c::AddInspectCommand(app, &inspected);
  qc2c::AddMeansCommand(app, &averaged);
  qc2c::AddCalibrateCommand(app, &calibrated);
  qc2c::AddTrainCommand(app, qc2c::StopRequested, &trained);
  qc2c::AddSensitivityCommand(app, &measured);
  absl::StatusOr<std::vector<std::string>> arguments = typed;
  if (TakesFlagFile(typed)) arguments = qc2c::ExpandFlagFiles(typed);
  try {
    if (!arguments.ok()) qc2c::ExitUnlessOk("", arguments.status());
    std::reverse(arguments->begin(), arguments->end());  // CLI11 takes them from the back
    app.parse(*arguments);
    qc2c::ExitUnlessOk("inspect", inspected);
    qc2c::ExitUnlessOk("means", averaged);
    qc2c::ExitUnlessOk("train", trained);
    qc2c::ExitUnlessOk("sensitivity", measured);
    qc2c::ExitUnlessOk("calibrate", calibrated);
  } catch (const CLI::RuntimeError& e) {
    return e.get_exit_code();
  } catch (const CLI::ParseError& e) {
    const bool asked_for = app.exit(e) == 0;  // --help, --version
    return static_cast<int>(asked_for ? qc2c::ExitCode::kOk : qc2c::ExitCode::kUsage);
  }
  return static_cast<int>(qc2c::ExitCode::kOk);
}

}  // namespace

int main(int argc, char** argv) {
  qc2c::CatchStopSignals();
  const std::vector<std::string> words(argv, argv + argc);
  return Run({words.begin() + 1, words.end()}, absl::StrJoin(words, " "));
}
