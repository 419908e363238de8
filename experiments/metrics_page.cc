#include "experiments/metrics_page.h"

#include <httplib.h>

#include <sstream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/rpc/address.h"

namespace qc2c {
namespace {

constexpr int kTimeoutSeconds = 5;

// name="value",... up to the closing brace; false if it is no such thing. `at` ends after the
// brace.
bool ParseLabels(const std::string& line, size_t& at, std::map<std::string, std::string>& labels) {
  while (at < line.size() && line[at] != '}') {
    const size_t equals = line.find("=\"", at);
    if (equals == std::string::npos) return false;
    std::string& value = labels[line.substr(at, equals - at)];
    for (at = equals + 2; at < line.size() && line[at] != '"'; ++at) {
      if (line[at] == '\\' && at + 1 < line.size()) ++at;
      value += line[at];
    }
    if (at == line.size()) return false;
    ++at;
    if (at < line.size() && line[at] == ',') ++at;
  }
  if (at == line.size()) return false;
  ++at;
  return true;
}

bool ParseSample(const std::string& line, MetricSample& sample) {
  size_t at = line.find_first_of("{ ");
  if (at == std::string::npos || at == 0) return false;
  sample.name = line.substr(0, at);
  if (line[at] == '{') {
    ++at;
    if (!ParseLabels(line, at, sample.labels)) return false;
  }
  std::istringstream rest(line.substr(at));
  std::string value;
  return rest >> value && absl::SimpleAtod(value, &sample.value);
}

}  // namespace

absl::StatusOr<std::vector<MetricSample>> ParseMetrics(const std::string& page) {
  std::vector<MetricSample> samples;
  std::istringstream lines(page);
  std::string line;
  while (std::getline(lines, line)) {
    if (line.empty() || line[0] == '#') continue;
    MetricSample sample;
    if (!ParseSample(line, sample)) {
      return absl::InvalidArgumentError(absl::StrCat("not a metric: \"", line, "\""));
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

absl::StatusOr<std::string> FetchMetrics(const std::string& host_port) {
  ASSIGN_OR_RETURN(const Address address, ParseAddress(host_port));
  httplib::Client client(address.host, address.port);
  client.set_connection_timeout(kTimeoutSeconds);
  client.set_read_timeout(kTimeoutSeconds);
  const httplib::Result page = client.Get("/metrics");
  if (!page || page->status != 200) {
    return absl::UnavailableError(absl::StrCat("no metrics page at ", host_port));
  }
  return page->body;
}

}  // namespace qc2c
