#include "experiments/plot.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "experiments/child_process.h"
#include "experiments/project_files.h"
#include "experiments/stop_signal.h"

namespace qc2c {
namespace {

constexpr int kExitNoMatplotlib = 69;  // plot.py's own word for it

}  // namespace

void AddPythonFlag(CLI::App& command, std::string& python) {
  command.add_option("--python", python, "a Python with matplotlib, for the plot")
      ->envname("QC2C_PYTHON");
}

absl::Status Plot(const PlotOptions& options) {
  ASSIGN_OR_RETURN(const std::filesystem::path root, ProjectFolder());
  std::vector<std::string> command = {options.python, (root / "experiments" / "plot.py").string()};
  if (!options.out.empty()) command.insert(command.end(), {"--out", options.out});
  command.insert(command.end(), options.folders.begin(), options.folders.end());
  ASSIGN_OR_RETURN(ChildProcess plot, ChildProcess::Start(command, ""));
  ASSIGN_OR_RETURN(const int status, plot.Wait(StopRequested));
  if (status == kExitNoMatplotlib) {
    return absl::UnavailableError(absl::StrCat(
        options.python, " has no matplotlib; name another with --python or QC2C_PYTHON"));
  }
  if (status != 0) return absl::InternalError(absl::StrCat("plot.py ended with status ", status));
  return absl::OkStatus();
}

}  // namespace qc2c
