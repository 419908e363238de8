#include "experiments/socket_meter.h"

#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace qc2c {
namespace {

constexpr size_t kPieceBytes = size_t{64} << 10;

std::optional<sockaddr_un> UnixName(const std::filesystem::path& path) {
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  if (path.string().size() >= sizeof(name.sun_path)) return std::nullopt;
  std::strcpy(name.sun_path, path.c_str());
  return name;
}

bool WriteAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t written = send(fd, data, size, MSG_NOSIGNAL);
    if (written <= 0) return false;
    data += written;
    size -= static_cast<size_t>(written);
  }
  return true;
}

// Copies until the end of `from`, then ends `to` in this direction.
void Pump(int from, int to, std::atomic<uint64_t>& count) {
  std::array<char, kPieceBytes> piece;
  while (true) {
    const ssize_t read = recv(from, piece.data(), piece.size(), 0);
    if (read <= 0) break;
    // Counted before it is passed on: whoever has it may look at the count at once.
    count += static_cast<uint64_t>(read);
    if (!WriteAll(to, piece.data(), static_cast<size_t>(read))) break;
  }
  shutdown(to, SHUT_WR);
}

}  // namespace

SocketMeter::Socket::~Socket() { close(fd); }

absl::StatusOr<std::unique_ptr<SocketMeter>> SocketMeter::Start(const std::filesystem::path& front,
                                                                const std::filesystem::path& back) {
  auto listener = std::make_unique<Socket>(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const std::optional<sockaddr_un> name = UnixName(front);
  if (listener->fd < 0 || !name ||
      bind(listener->fd, reinterpret_cast<const sockaddr*>(&*name), sizeof(*name)) != 0 ||
      listen(listener->fd, SOMAXCONN) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen at unix:", front.string(), ": ",
                                               name ? std::strerror(errno) : "path too long"));
  }
  return std::unique_ptr<SocketMeter>(new SocketMeter(std::move(listener), front, back));
}

SocketMeter::SocketMeter(std::unique_ptr<Socket> listener, std::filesystem::path front,
                         std::filesystem::path back)
    : listener_(std::move(listener)),
      front_(std::move(front)),
      back_(std::move(back)),
      acceptor_([this] { Accept(); }) {}

SocketMeter::~SocketMeter() {
  shutdown(listener_->fd, SHUT_RDWR);  // ends accept
  acceptor_.join();
  for (const Connection& connection : connections_) {
    shutdown(connection.client->fd, SHUT_RDWR);
    shutdown(connection.server->fd, SHUT_RDWR);
  }
  connections_.clear();  // joins
  std::error_code ignored;
  std::filesystem::remove(front_, ignored);
}

void SocketMeter::Accept() {
  while (true) {
    const int accepted = accept4(listener_->fd, nullptr, nullptr, SOCK_CLOEXEC);
    if (accepted < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      return;
    }
    auto client = std::make_shared<Socket>(accepted);
    auto server = std::make_shared<Socket>(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const std::optional<sockaddr_un> name = UnixName(back_);
    if (server->fd < 0 || !name ||
        connect(server->fd, reinterpret_cast<const sockaddr*>(&*name), sizeof(*name)) != 0) {
      continue;  // closes the client
    }
    std::lock_guard lock(mutex_);
    Connection& connection = connections_.emplace_back();
    connection.client = client;
    connection.server = server;
    connection.to_server =
        std::jthread([this, client, server] { Pump(client->fd, server->fd, to_server_); });
    connection.to_client =
        std::jthread([this, client, server] { Pump(server->fd, client->fd, to_client_); });
  }
}

}  // namespace qc2c
