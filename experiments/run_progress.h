// How far a run is: a bar that rewrites its line on a terminal, a plain line now and then
// elsewhere.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/time/time.h"

namespace qc2c {

// Thread-compatible. Writes to `stream`, which it does not own.
class RunProgress {
 public:
  // `total` questions in the whole run, of which `done` were answered in an earlier session.
  RunProgress(uint64_t total, uint64_t done, FILE* stream);

  void StartPoint(const std::string& name, uint64_t total, uint64_t done);
  void Answered();
  // A line that stays, with the bar redrawn below it.
  void Note(const std::string& text);
  // Clears the bar.
  void Pause();

 private:
  std::string BarLine(absl::Time now) const;
  void Draw(absl::Time now);

  const uint64_t total_;
  const uint64_t done_before_;
  uint64_t done_;
  FILE* stream_;
  const bool is_terminal_;
  absl::Time start_;
  absl::Time drawn_;
  std::string point_;
  uint64_t point_total_ = 0;
  uint64_t point_done_ = 0;
  bool bar_visible_ = false;
};

// "45 s", "2 min 05 s", "1 h 07 min".
std::string HumanDuration(absl::Duration duration);

}  // namespace qc2c
