// Where a daemon listens or is found: `unix:PATH` or `HOST:PORT`.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace qc2c {

struct Address {
  enum class Kind { kUnix, kTcp };
  Kind kind = Kind::kUnix;
  std::string path;  // kUnix
  std::string host;  // kTcp; an IPv6 address without its brackets
  int port = 0;      // kTcp; 0 only to listen at any free port

  // As it is written, and as gRPC takes it: "unix:PATH", "HOST:PORT", "[::1]:PORT".
  std::string ToString() const;
  // A unix socket, localhost, 127.0.0.0/8 or ::1.
  bool IsLocal() const;
};

// INVALID_ARGUMENT, quoting `text`, for any other form, a path that does not fit in a socket
// address (107 bytes) or a port outside 0..65535.
absl::StatusOr<Address> ParseAddress(const std::string& text);

// Connections carry no encryption and no credentials, so they stay on this machine unless somebody
// says otherwise.
enum class RemoteAccess { kRefuse, kAllowInsecureRemote };

// INVALID_ARGUMENT if `address` leaves this machine and `access` refuses that.
absl::Status CheckAccess(const Address& address, RemoteAccess access);

// Makes the path of a unix socket free to bind: removes a socket that nobody listens at any more.
// OK if there is nothing, or for TCP. UNAVAILABLE if somebody listens there, ALREADY_EXISTS if the
// path is not a socket; nothing is removed then.
absl::Status RemoveStaleSocket(const Address& address);

}  // namespace qc2c
