#include "experiments/stop_signal.h"

#include <csignal>
#include <initializer_list>

namespace qc2c {
namespace {

volatile std::sig_atomic_t stop_requested = 0;

extern "C" void OnStopSignal(int /*signal*/) { stop_requested = 1; }

}  // namespace

void CatchStopSignals() {
  struct sigaction action = {};
  action.sa_handler = OnStopSignal;
  // The second signal meets the default action: there is a way out of a driver that hangs.
  action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
}

bool StopRequested() { return stop_requested != 0; }

}  // namespace qc2c
