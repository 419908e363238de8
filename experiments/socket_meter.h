// Counts what really crosses the unix socket between two daemons: a relay that stands between them.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"

namespace qc2c {

// Both directions, all connections: gRPC frames, HTTP/2 headers, pings and window updates with
// them.
struct SocketBytes {
  uint64_t to_server = 0;
  uint64_t to_client = 0;
  uint64_t both() const { return to_server + to_client; }
};

// Listens at `front` and passes every connection on to `back`, until destroyed. Thread-safe.
class SocketMeter {
 public:
  // UNAVAILABLE, naming the path, if `front` cannot be bound. `back` need not be there yet: a
  // connection that finds nobody there is closed.
  static absl::StatusOr<std::unique_ptr<SocketMeter>> Start(const std::filesystem::path& front,
                                                            const std::filesystem::path& back);
  ~SocketMeter();
  SocketMeter(const SocketMeter&) = delete;
  SocketMeter& operator=(const SocketMeter&) = delete;

  SocketBytes bytes() const { return {to_server_, to_client_}; }

 private:
  // An open socket, closed with the object.
  struct Socket {
    explicit Socket(int descriptor) : fd(descriptor) {}
    ~Socket();
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    const int fd;
  };
  struct Connection {
    std::shared_ptr<Socket> client;
    std::shared_ptr<Socket> server;
    std::jthread to_server;
    std::jthread to_client;
  };

  SocketMeter(std::unique_ptr<Socket> listener, std::filesystem::path front,
              std::filesystem::path back);
  void Accept();

  const std::unique_ptr<Socket> listener_;
  const std::filesystem::path front_;
  const std::filesystem::path back_;
  std::atomic<uint64_t> to_server_{0};
  std::atomic<uint64_t> to_client_{0};
  std::mutex mutex_;
  std::list<Connection> connections_;
  std::jthread acceptor_;
};

}  // namespace qc2c
