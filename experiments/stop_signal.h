// Ctrl-C and its relatives, as a flag that the driver looks at.
#pragma once

namespace qc2c {

// From now on the first SIGINT, SIGTERM or SIGHUP sets the flag; a second one ends the process.
// Call once, before any thread starts.
void CatchStopSignals();

bool StopRequested();

}  // namespace qc2c
