// Measures how long a scope takes.
#pragma once

#include <chrono>
#include <cstdint>

namespace qc2c {

// Adds the microseconds from its construction to its end to `*sum_us`, which must outlive it.
// Steady clock; for one thread.
//   { StageTimer timer(&times.encode_us); Encode(); }
class StageTimer {
 public:
  explicit StageTimer(uint64_t* sum_us) : sum_us_(sum_us) {}
  ~StageTimer() { *sum_us_ += ElapsedUs(); }
  StageTimer(const StageTimer&) = delete;
  StageTimer& operator=(const StageTimer&) = delete;

  uint64_t ElapsedUs() const {
    return static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start_).count());
  }

 private:
  using Clock = std::chrono::steady_clock;
  uint64_t* sum_us_;
  Clock::time_point start_ = Clock::now();
};

}  // namespace qc2c
