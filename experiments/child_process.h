// A program that this one starts and is answerable for.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace qc2c {

// Move-only. The child is in a process group of its own, so that a terminal's Ctrl-C reaches it
// only through us, and the kernel kills it if we die. It is stopped when this object goes.
class ChildProcess {
 public:
  // command[0] is looked for in PATH if it has no slash. Output is appended to `log`, or goes where
  // ours goes if that is empty. NOT_FOUND if the program cannot be started. Call from the main
  // thread: the kernel ties the child's life to the thread that starts it.
  static absl::StatusOr<ChildProcess> Start(const std::vector<std::string>& command,
                                            const std::filesystem::path& log);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess();

  // The exit status (128 + signal if a signal ended it), once it has ended.
  std::optional<int> Poll();
  // Waits for the end. CANCELLED, and the child is stopped, when `stopped` becomes true.
  absl::StatusOr<int> Wait(const std::function<bool()>& stopped);
  // SIGTERM, and SIGKILL after `grace`. Returns the exit status.
  int Stop(absl::Duration grace);
  pid_t pid() const { return pid_; }

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}

  pid_t pid_;
  std::optional<int> status_;
};

}  // namespace qc2c
