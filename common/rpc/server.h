// A gRPC server from its listening socket to its last call.
#pragma once

#include <grpcpp/server.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "common/rpc/address.h"
#include "common/rpc/channel.h"

namespace qc2c {

enum class Reflection { kOff, kOn };

struct ServerOptions {
  Address address;
  RemoteAccess access = RemoteAccess::kRefuse;
  size_t max_receive_message_bytes = kDefaultMaxMessageBytes;
  Reflection reflection = Reflection::kOff;
  absl::Duration drain = absl::ZeroDuration();  // not serving, but still answering
  absl::Duration grace = absl::Seconds(5);      // for the open calls; then they are cancelled
  // Called once, from the host's thread, when stopping begins: refuse new work, set /healthz.
  std::function<void()> stop_admitting;
  // True while admitted calls are unfinished. With it, stopping waits for them before it closes any
  // connection, so that every finished call's reply arrives. Thread-safe.
  std::function<bool()> busy;
};

struct HostedService {
  std::string name;        // as the health service shows it: Sharer::service_full_name()
  grpc::Service* service;  // must outlive the host
};

// Listens and serves, with the gRPC health service, until SIGTERM, SIGINT or Stop(): then
//   1. health turns NOT_SERVING and stop_admitting is called,
//   2. `drain` passes (a second signal ends it),
//   3. open calls get `grace` and are then cancelled; no call is accepted any more,
//   4. the unix socket is gone.
// A process has one host if signals are to stop it, and BlockStopSignals must have been called
// first in main; Start calls it for its own thread. Thread-safe.
class ServerHost {
 public:
  // INVALID_ARGUMENT from CheckAccess, ALREADY_EXISTS and UNAVAILABLE from RemoveStaleSocket, and
  // UNAVAILABLE, naming the address, if it cannot be bound.
  static absl::StatusOr<std::unique_ptr<ServerHost>> Start(
      ServerOptions options, const std::vector<HostedService>& services);

  ~ServerHost();  // stops, if nobody did, and waits
  ServerHost(const ServerHost&) = delete;
  ServerHost& operator=(const ServerHost&) = delete;

  // Where it listens: options.address with the port that was bound.
  const Address& address() const { return options_.address; }

  void Wait();  // until all four steps are over
  void Stop();  // begins them; returns at once

 private:
  ServerHost(ServerOptions options, std::unique_ptr<grpc::Server> server);
  void StopWhenTold();
  void AwaitIdle(absl::Time deadline) const;

  ServerOptions options_;
  std::unique_ptr<grpc::Server> server_;
  absl::Notification stopped_;
  std::thread stopper_;
};

}  // namespace qc2c
