// SIGTERM and SIGINT as something to wait for, not something that interrupts.
#pragma once

#include <csignal>
#include <thread>

namespace qc2c {

// Blocks SIGTERM and SIGINT in this thread and in all that it starts, and ignores SIGPIPE. Call it
// first in main, before anything makes a thread: ServerHost waits for the signals.
void BlockStopSignals();

// The set of the two.
sigset_t StopSignals();

// While it lives, SIGTERM and SIGINT end the process by that signal, at once: for the time in which
// a daemon loads and waits for others, and has nothing to end in good order. One that comes later
// waits for ServerHost. REQUIRES: BlockStopSignals.
class StopSignalsEndProcess {
 public:
  StopSignalsEndProcess();

 private:
  std::jthread watcher_;
};

}  // namespace qc2c
