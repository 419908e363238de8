// The flags that both daemons share, read from a YAML file (--config) and from the command line
// over it.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/model/model.h"
#include "common/serving/batch_queue.h"

namespace qc2c {

struct DaemonOptions {
  std::string model;   // folder
  std::string listen;  // unix:PATH or HOST:PORT
  std::string device = "cpu";
  std::string dtype = "fp32";
  std::string cuda_graphs = "on";  // off: small passes are launched kernel by kernel
  std::string metrics;             // HOST:PORT of /metrics and /healthz; empty: none
  int threads = 0;                 // of ATen inside one operation; 0: its own choice
  int64_t max_batch_tokens = BatchLimits{}.max_batch_tokens;
  int64_t max_batch_size = BatchLimits{}.max_batch_size;
  int64_t max_batch_wait_us = BatchLimits{}.max_wait.count();
  int64_t max_queue = static_cast<int64_t>(BatchLimits{}.capacity);
  std::string insecure_remote = "off";  // on: listen on, and call, addresses of other machines
  std::string reflection = "off";       // gRPC server reflection: on or off
  int64_t grace_ms = 2000;              // what running requests get after SIGTERM
  std::string log_level = "info";
  std::string log_format = "json";

  BatchLimits Limits() const;
  absl::StatusOr<ModelOptions> Model() const;
};

// Adds the flags above to `app`. `options` must outlive the parsing.
void AddDaemonFlags(CLI::App& app, DaemonOptions& options);

// --codebook FILE, which may be given more than once.
void AddCodebookFlag(CLI::App& app, std::vector<std::string>& files);

// Lets `--config FILE` of `app` be YAML: a flat map from flag names to values. Unknown keys are
// refused by name; flags on the command line win.
void UseYamlConfig(CLI::App& app);

}  // namespace qc2c
