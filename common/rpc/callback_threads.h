// The threads on which gRPC runs every reaction.
#pragma once

namespace qc2c {

// Keeps them until the process ends. Without this they end with the last server or channel that
// uses them, and when a reaction drops that last one (a call's context holds its channel), the
// thread waits for itself and gRPC frees its queue twice. Whatever makes a server or a channel
// calls this first.
void KeepCallbackThreads();

}  // namespace qc2c
