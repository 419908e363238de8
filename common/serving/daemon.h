// A daemon's life outside its own service: log, metrics page, gRPC server, ready line, clean end.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/obs/metrics.h"
#include "common/rpc/address.h"
#include "common/rpc/server.h"
#include "common/serving/daemon_options.h"

namespace qc2c {

// Log and threads of ATen, from the options, and one memory for torch and the codec on a GPU. First
// thing after parsing.
absl::Status PrepareProcess(const DaemonOptions& options);

RemoteAccess AccessOf(const DaemonOptions& options);

struct Serving {
  std::string program;  // "qc2c-sharer"
  HostedService service;
  Metrics& metrics;
  // Extra "key=value" pairs of the ready line.
  std::vector<std::pair<std::string, std::string>> ready;
  // Called when stopping begins, before the open calls get their grace: refuse new work.
  std::function<void()> stop_admitting;
  // True while admitted calls are unfinished.
  std::function<bool()> busy;
};

// Serves until SIGTERM or SIGINT. Prints one line on stdout when ready:
//   PROGRAM ready address=ADDR metrics=HOST:PORT key=value ...
absl::Status Serve(const DaemonOptions& options, const Serving& serving);

// Parses the command line, runs `body`, reports its error on stderr and maps it to an exit code.
// `--help` prints the flags and exits with 0; a flag that does not parse exits with 64, an absent
// --config file with 66.
int RunProgram(CLI::App& app, int argc, char** argv, const std::function<absl::Status()>& body);

}  // namespace qc2c
