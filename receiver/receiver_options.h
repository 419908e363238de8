// The receiver's flags, read from a YAML file (--config) and from the command line over it.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/fuser/several_sharers.h"
#include "common/serving/daemon_options.h"
#include "receiver/connected_sharer.h"

namespace qc2c {

struct ReceiverOptions {
  DaemonOptions daemon;
  std::vector<std::string> sharers;     // addresses, at least one
  std::vector<std::string> fusers;      // folders, one a sharer; none: no fused answers
  std::vector<std::string> alignments;  // one for all sharers, or one a sharer
  std::string combine = "sequential";
  SharerFiles files;
  int64_t sharer_patience_ms = 30000;
  int64_t sharer_timeout_ms = 30000;
  int workers = 2;

  // The sharers one by one; `known_tokenizer` is the receiver's own. INVALID_ARGUMENT naming the
  // flag that is not given once for each.
  absl::StatusOr<std::vector<SharerOptions>> Sharers(uint64_t known_tokenizer) const;
};

// Adds all flags of qc2c-receiver to `app`. `options` must outlive the parsing.
void AddReceiverFlags(CLI::App& app, ReceiverOptions& options);

}  // namespace qc2c
