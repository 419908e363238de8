#include "experiments/train/progress.h"

#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

constexpr std::chrono::seconds kTerminalPause{1};
constexpr std::chrono::seconds kFilePause{15};

double Since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Progress::Progress(std::string name, int64_t first_step, int64_t total_steps)
    : name_(std::move(name)),
      first_step_(first_step),
      total_steps_(total_steps),
      start_(std::chrono::steady_clock::now()) {}

double Progress::Seconds() const { return Since(start_); }

void Progress::Show(int64_t steps_done, double loss) {
  const bool terminal = isatty(STDERR_FILENO) != 0;
  const auto now = std::chrono::steady_clock::now();
  const bool last = steps_done == total_steps_;
  if (!last && now - shown_ < (terminal ? kTerminalPause : kFilePause)) return;
  shown_ = now;
  const double pace =
      Seconds() / static_cast<double>(std::max<int64_t>(1, steps_done - first_step_));
  const auto left = static_cast<int64_t>(pace * static_cast<double>(total_steps_ - steps_done));
  const std::string line =
      absl::StrFormat("%s  step %d/%d  loss %.4f  %.3f s/step  ETA %d:%02d", name_, steps_done,
                      total_steps_, loss, pace, left / 60, left % 60);
  std::fprintf(stderr, terminal && !last ? "\r%s\033[K" : "%s\n", line.c_str());
}

absl::StatusOr<LossLog> LossLog::Open(const std::filesystem::path& path, int64_t step) {
  std::string kept;
  if (std::ifstream before(path); before) {
    std::string line;
    while (std::getline(before, line)) {
      const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
      // A line cut short by a kill is dropped like one of a later step.
      if (json.is_object() && json.value("step", step + 1) <= step)
        absl::StrAppend(&kept, line, "\n");
    }
  }
  RETURN_IF_ERROR(WriteFileAtomically(path, kept));
  std::ofstream file(path, std::ios::app);
  if (!file) return absl::PermissionDeniedError(absl::StrCat("cannot write ", path.string()));
  return LossLog(std::move(file));
}

absl::Status LossLog::Write(const LossRecord& record) {
  const nlohmann::ordered_json json = {{"step", record.step},
                                       {"loss", record.loss},
                                       {"grad_norm", record.grad_norm},
                                       {"lr_scale", record.lr_scale},
                                       {"seconds", record.seconds}};
  return WriteLine(json.dump());
}

absl::Status LossLog::Write(int64_t step, const Accuracy& check) {
  const nlohmann::ordered_json json = {{"step", step}, {"check", check}};
  return WriteLine(json.dump());
}

absl::Status LossLog::WriteLine(const std::string& line) {
  file_ << line << std::endl;
  return file_ ? absl::OkStatus() : absl::DataLossError("cannot write the loss log: disk full?");
}

}  // namespace qc2c
