#include "common/rpc/stop_signals.h"

#include <pthread.h>

#include <ctime>

namespace qc2c {

sigset_t StopSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

void BlockStopSignals() {
  const sigset_t set = StopSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

StopSignalsEndProcess::StopSignalsEndProcess()
    : watcher_([](const std::stop_token& stop) {
        const sigset_t signals = StopSignals();
        constexpr timespec kPoll = {.tv_sec = 0, .tv_nsec = 20'000'000};
        while (!stop.stop_requested()) {
          const int signal = sigtimedwait(&signals, nullptr, &kPoll);
          if (signal < 0) continue;
          std::signal(signal, SIG_DFL);
          pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
          std::raise(signal);
        }
      }) {}

}  // namespace qc2c
