// A bounded queue that hands out batches: what stands between RPCs and a model.
//
// A batch is filled in arrival order until it holds `max_batch_tokens` tokens, each job counted as
// long as the longest of them (a model pads them to that), or `max_batch_size` jobs; an unfilled
// batch waits at most `max_wait` for company, counted from its first job's arrival at the head of
// the queue. Thread-safe.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace qc2c {

struct BatchLimits {
  int64_t max_batch_tokens = 8192;  // one longer job still makes a batch of its own
  int64_t max_batch_size = 32;
  std::chrono::microseconds max_wait{2000};
  size_t capacity = 256;  // jobs waiting; one more is refused
};

// Job must be movable and have `int64_t num_tokens() const`.
template <typename Job>
class BatchQueue {
 public:
  // `on_size`, if any, is told how many jobs wait whenever that changes, in order; it must not call
  // the queue.
  BatchQueue(std::string name, BatchLimits limits, std::function<void(size_t)> on_size = {})
      : name_(std::move(name)), limits_(limits), on_size_(std::move(on_size)) {}

  // RESOURCE_EXHAUSTED naming the queue if it is full, UNAVAILABLE after Close. The job is moved
  // from only on success.
  absl::Status Push(Job&& job) {
    std::lock_guard lock(mutex_);
    if (closed_)
      return absl::UnavailableError(absl::StrCat("queue '", name_, "' is shutting down"));
    if (jobs_.size() >= limits_.capacity) {
      return absl::ResourceExhaustedError(absl::StrCat("queue '", name_,
                                                       "' is full: ", jobs_.size(), " of ",
                                                       limits_.capacity, " jobs are waiting"));
    }
    jobs_.push_back(std::move(job));
    if (on_size_) on_size_(jobs_.size());
    changed_.notify_one();
    return absl::OkStatus();
  }

  // Blocks for the next batch; empty only after Close, once every job has been handed out.
  std::vector<Job> PopBatch() {
    std::unique_lock lock(mutex_);
    // Another worker may take the jobs that this one was waiting with: then it starts over.
    do {
      changed_.wait(lock, [&] { return closed_ || !jobs_.empty(); });
      const auto deadline = std::chrono::steady_clock::now() + limits_.max_wait;
      while (!closed_ && !Full() &&
             changed_.wait_until(lock, deadline) != std::cv_status::timeout) {
      }
    } while (jobs_.empty() && !closed_);
    std::vector<Job> batch;
    int64_t longest = 0;
    while (!jobs_.empty() && static_cast<int64_t>(batch.size()) < limits_.max_batch_size) {
      longest = std::max(longest, jobs_.front().num_tokens());
      const int64_t tokens = longest * static_cast<int64_t>(batch.size() + 1);
      if (!batch.empty() && tokens > limits_.max_batch_tokens) break;
      batch.push_back(std::move(jobs_.front()));
      jobs_.pop_front();
    }
    if (on_size_) on_size_(jobs_.size());
    // Another worker may be waiting and jobs may be left for it.
    if (!jobs_.empty()) changed_.notify_one();
    return batch;
  }

  // Refuses further jobs; those already waiting are still handed out.
  void Close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  bool Full() const {
    const auto size = static_cast<int64_t>(jobs_.size());
    if (size >= limits_.max_batch_size) return true;
    int64_t longest = 0;
    for (const Job& job : jobs_) longest = std::max(longest, job.num_tokens());
    return longest * size >= limits_.max_batch_tokens;
  }

  const std::string name_;
  const BatchLimits limits_;
  const std::function<void(size_t)> on_size_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool closed_ = false;
};

}  // namespace qc2c
