#include <iostream>

#include "common/rpc/exit_code.h"
#include "experiments/commands.h"
#include "experiments/stop_signal.h"

namespace qc2c {
namespace {

constexpr int kInterrupted = 130;  // what a shell reports for SIGINT

}  // namespace

void ExitUnlessOk(const std::string& command, const absl::Status& status) {
  if (status.ok()) return;
  if (StopRequested()) {
    std::cerr << "qc2c " << command << ": stopped" << std::endl;
    throw CLI::RuntimeError(kInterrupted);
  }
  std::cerr << "qc2c " << command << ": " << status.message() << std::endl;
  throw CLI::RuntimeError(static_cast<int>(ToExitCode(status)));
}

}  // namespace qc2c
