#include "experiments/run_progress.h"

#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace qc2c {
namespace {

constexpr int kBarCells = 24;
constexpr uint64_t kAnswersForEta = 50;  // the first ones wait for a batch and mislead
constexpr absl::Duration kTerminalInterval = absl::Milliseconds(100);
constexpr absl::Duration kPlainInterval = absl::Seconds(10);

}  // namespace

std::string HumanDuration(absl::Duration duration) {
  const int64_t seconds = absl::ToInt64Seconds(duration + absl::Milliseconds(500));
  if (seconds < 60) return absl::StrCat(seconds, " s");
  if (seconds < 3600) return absl::StrFormat("%d min %02d s", seconds / 60, seconds % 60);
  return absl::StrFormat("%d h %02d min", seconds / 3600, seconds / 60 % 60);
}

RunProgress::RunProgress(uint64_t total, uint64_t done, FILE* stream)
    : total_(total),
      done_before_(done),
      done_(done),
      stream_(stream),
      is_terminal_(isatty(fileno(stream)) == 1),
      start_(absl::Now()),
      drawn_(absl::InfinitePast()) {}

void RunProgress::StartPoint(const std::string& name, uint64_t total, uint64_t done) {
  point_ = name;
  point_total_ = total;
  point_done_ = done;
  if (is_terminal_) Draw(absl::Now());
}

void RunProgress::Answered() {
  ++done_;
  ++point_done_;
  const absl::Time now = absl::Now();
  if (now - drawn_ >= (is_terminal_ ? kTerminalInterval : kPlainInterval)) Draw(now);
}

void RunProgress::Note(const std::string& text) {
  Pause();
  absl::FPrintF(stream_, "%s\n", text);
  std::fflush(stream_);
}

void RunProgress::Pause() {
  if (bar_visible_) absl::FPrintF(stream_, "\r\033[K");
  bar_visible_ = false;
  std::fflush(stream_);
}

std::string RunProgress::BarLine(absl::Time now) const {
  const int filled = static_cast<int>(kBarCells * done_ / std::max<uint64_t>(total_, 1));
  std::string bar(filled, '#');
  bar.resize(kBarCells, '.');
  const uint64_t answered = done_ - done_before_;
  const double rate =
      static_cast<double>(answered) / std::max(absl::ToDoubleSeconds(now - start_), 1e-3);
  std::string line = absl::StrFormat("[%s] %3d %%  %s %d/%d  %.0f questions/s", bar,
                                     100 * done_ / std::max<uint64_t>(total_, 1), point_,
                                     point_done_, point_total_, rate);
  if (answered >= kAnswersForEta) {
    absl::StrAppend(&line, "  ETA ",
                    HumanDuration(absl::Seconds(static_cast<double>(total_ - done_) / rate)));
  }
  return line;
}

void RunProgress::Draw(absl::Time now) {
  drawn_ = now;
  if (is_terminal_) {
    absl::FPrintF(stream_, "\r\033[K%s", BarLine(now));
    bar_visible_ = true;
  } else {
    absl::FPrintF(stream_, "%s\n", BarLine(now));
  }
  std::fflush(stream_);
}

}  // namespace qc2c
