// What a daemon's metrics page says.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace qc2c {

struct MetricSample {
  std::string name;
  std::map<std::string, std::string> labels;
  double value = 0;
};

// The samples of a page in the Prometheus text format. INVALID_ARGUMENT quotes the line that is
// none.
absl::StatusOr<std::vector<MetricSample>> ParseMetrics(const std::string& page);

// GET http://HOST:PORT/metrics. UNAVAILABLE names the address.
absl::StatusOr<std::string> FetchMetrics(const std::string& host_port);

}  // namespace qc2c
