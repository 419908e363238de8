// A recipe with daemons of one's own, from starting them to the curve: what `qc2c demo` and `qc2c
// real` do.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace qc2c {

struct DemoOptions {
  std::string recipe;  // empty: experiments/recipes/demo.yaml
  std::string pair;    // empty: the recipe's first
  std::string out;     // the run folder; empty: runs/RECIPE, or runs/RECIPE-PAIR if not the first
  std::string device = "cpu";
  std::string dtype = "fp32";
  int threads = 1;         // of each daemon
  int max_batch_size = 0;  // questions that each daemon computes together; 0: its default
  uint64_t limit = 0;      // of the questions of each file; 0: all
  uint32_t in_flight = 0;  // 0: the recipe's
  std::string python = "python3";
};

// Prints tables, byte counts and the folder. Stops what it started in any case. CANCELLED after a
// stop signal: the same call continues in the same folder.
absl::Status RunDemo(const DemoOptions& options, const std::string& command_line);

}  // namespace qc2c
