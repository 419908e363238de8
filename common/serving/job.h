// What every queued job has in common: a caller that may have gone away, and a clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"

namespace qc2c {

using Clock = std::chrono::steady_clock;

inline uint64_t MicrosecondsBetween(Clock::time_point start, Clock::time_point end) {
  return std::chrono::duration_cast<std::chrono::microseconds>(end - start).count();
}
inline uint64_t MicrosecondsSince(Clock::time_point start) {
  return MicrosecondsBetween(start, Clock::now());
}

// Takes the jobs that nobody waits for any more out of `batch`, finishing each with CANCELLED.
template <typename Job>
void DropCancelled(std::vector<Job>& batch) {
  std::erase_if(batch, [](Job& job) {
    if (!job.cancelled || !job.cancelled()) return false;
    job.finish(absl::CancelledError("the caller went away"));
    return true;
  });
}

}  // namespace qc2c
