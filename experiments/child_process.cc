#include "experiments/child_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace qc2c {
namespace {

constexpr absl::Duration kPollEvery = absl::Milliseconds(20);
constexpr absl::Duration kGrace = absl::Seconds(5);

// In the child, after fork: only calls that are safe there. Reports errno through `report` and
// ends.
[[noreturn]] void Become(char* const* arguments, const char* log, pid_t parent, int report) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // it died before the kernel knew of us
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int input = open("/dev/null", O_RDONLY);
  if (input >= 0) dup2(input, STDIN_FILENO);
  const int output = log == nullptr ? -1 : open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (output >= 0) {
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
  }
  if (log == nullptr || output >= 0) execvp(arguments[0], arguments);
  const int error = errno;
  const ssize_t written = write(report, &error, sizeof(error));
  _exit(written == sizeof(error) ? 127 : 126);
}

int ExitStatus(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

}  // namespace

absl::StatusOr<ChildProcess> ChildProcess::Start(const std::vector<std::string>& command,
                                                 const std::filesystem::path& log) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return absl::InternalError("pipe: no file descriptor");
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    Become(arguments.data(), log.empty() ? nullptr : log.c_str(), parent, report[1]);
  }
  close(report[1]);
  int error = pid < 0 ? errno : 0;
  // The pipe closes without a word when exec succeeds.
  const ssize_t num_read = pid < 0 ? 0 : read(report[0], &error, sizeof(error));
  close(report[0]);
  if (pid > 0 && num_read <= 0) return ChildProcess(pid);
  if (pid > 0) waitpid(pid, nullptr, 0);
  return absl::NotFoundError(absl::StrCat("cannot start ", command[0], ": ", strerror(error)));
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)), status_(other.status_) {}

ChildProcess::~ChildProcess() {
  if (pid_ > 0) Stop(kGrace);
}

std::optional<int> ChildProcess::Poll() {
  int wait_status = 0;
  if (!status_ && waitpid(pid_, &wait_status, WNOHANG) == pid_) status_ = ExitStatus(wait_status);
  return status_;
}

absl::StatusOr<int> ChildProcess::Wait(const std::function<bool()>& stopped) {
  while (!Poll()) {
    if (stopped()) {
      Stop(kGrace);
      return absl::CancelledError("stopped");
    }
    absl::SleepFor(kPollEvery);
  }
  return *status_;
}

int ChildProcess::Stop(absl::Duration grace) {
  if (!Poll()) kill(pid_, SIGTERM);
  const absl::Time patience_ends = absl::Now() + grace;
  while (!Poll()) {
    if (absl::Now() >= patience_ends) kill(pid_, SIGKILL);
    absl::SleepFor(kPollEvery);
  }
  return *status_;
}

}  // namespace qc2c
