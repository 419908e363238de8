// One RPC from its arrival to its end: the gauge of what is under way, the counters, one log line.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "common/obs/log.h"
#include "common/obs/qc2c_metrics.h"
#include "common/serving/job.h"

namespace qc2c {

// Thread-compatible. Finish must be called exactly once.
class RequestRecord {
 public:
  RequestRecord(Qc2cMetrics& metrics, std::string method)
      : metrics_(metrics), method_(std::move(method)) {
    metrics_.inflight.Increment();
  }

  // Shown in the log line, in this order.
  void Note(std::string name, LogValue value) {
    fields_.push_back({std::move(name), std::move(value)});
  }

  void Finish(const absl::Status& status) {
    const std::string code = absl::StatusCodeToString(status.code());
    metrics_.inflight.Decrement();
    metrics_.requests_total.With(method_, code).Increment();
    LogFields fields = {{"code", code}, {"total_us", MicrosecondsSince(arrived_)}};
    if (!status.ok()) fields.push_back({"error", std::string(status.message())});
    fields.insert(fields.end(), fields_.begin(), fields_.end());
    Log(status.ok() ? LogLevel::kInfo : LogLevel::kWarning, method_, fields);
  }

 private:
  Qc2cMetrics& metrics_;
  const std::string method_;
  const Clock::time_point arrived_ = Clock::now();
  LogFields fields_;
};

}  // namespace qc2c
