// SIGTERM and SIGINT as something to wait for, not something that interrupts.
#pragma once

#include <csignal>

namespace qc2c {

// Blocks SIGTERM and SIGINT in this thread and in all that it starts, and ignores SIGPIPE. Call it
// first in main, before anything makes a thread: ServerHost waits for the signals.
void BlockStopSignals();

// The set of the two.
sigset_t StopSignals();

}  // namespace qc2c
