#include "common/rpc/address.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace qc2c {
namespace {

constexpr char kUnixPrefix[] = "unix:";
constexpr size_t kMaxPathBytes = sizeof(sockaddr_un{}.sun_path) - 1;

absl::Status BadAddress(const std::string& text, const std::string& why) {
  return absl::InvalidArgumentError(
      absl::StrCat("address \"", text, "\": ", why, "; expected unix:PATH or HOST:PORT"));
}

absl::StatusOr<Address> ParseUnix(const std::string& text) {
  Address address = {.kind = Address::Kind::kUnix, .path = text.substr(strlen(kUnixPrefix))};
  if (address.path.empty()) return BadAddress(text, "the path is empty");
  if (address.path.find('\0') != std::string::npos) return BadAddress(text, "the path has a NUL");
  if (address.path.size() > kMaxPathBytes)
    return BadAddress(text, absl::StrCat("the path has ", address.path.size(),
                                         " bytes, a socket's at most ", kMaxPathBytes));
  return address;
}

bool IsHostCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '_';
}

}  // namespace

std::string Address::ToString() const {
  if (kind == Kind::kUnix) return absl::StrCat(kUnixPrefix, path);
  if (absl::StrContains(host, ":")) return absl::StrCat("[", host, "]:", port);
  return absl::StrCat(host, ":", port);
}

bool Address::IsLocal() const {
  if (kind == Kind::kUnix || host == "localhost" || host == "::1") return true;
  in_addr address;  // not a prefix of the text: 127.0.0.1.example.org is somebody's name
  return inet_pton(AF_INET, host.c_str(), &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

absl::StatusOr<Address> ParseAddress(const std::string& text) {
  if (absl::StartsWith(text, kUnixPrefix)) return ParseUnix(text);
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return BadAddress(text, "it has no port");
  Address address = {.kind = Address::Kind::kTcp, .host = text.substr(0, colon)};
  std::string& host = address.host;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    if (!std::ranges::all_of(
            host, [](unsigned char c) { return std::isxdigit(c) || c == ':' || c == '.'; }))
      return BadAddress(text, "the host in brackets is not an IPv6 address");
  } else if (host.empty() || !std::ranges::all_of(host, IsHostCharacter)) {
    return BadAddress(text, "the host is empty or not a name");
  }
  const std::string port = text.substr(colon + 1);
  if (port.empty() || !std::ranges::all_of(port, [](unsigned char c) { return std::isdigit(c); }) ||
      !absl::SimpleAtoi(port, &address.port) || address.port > 65535)
    return BadAddress(text, absl::StrCat("the port is \"", port, "\", not 0..65535"));
  return address;
}

absl::Status CheckAccess(const Address& address, RemoteAccess access) {
  if (access == RemoteAccess::kAllowInsecureRemote || address.IsLocal()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "address ", address.ToString(),
      " leaves this machine, and the connection is neither encrypted nor authenticated; allow "
      "insecure remote connections explicitly, or use unix:PATH or 127.0.0.1:PORT"));
}

absl::Status RemoveStaleSocket(const Address& address) {
  if (address.kind != Address::Kind::kUnix) return absl::OkStatus();
  struct stat info;
  if (lstat(address.path.c_str(), &info) != 0) return absl::OkStatus();
  if (!S_ISSOCK(info.st_mode))
    return absl::AlreadyExistsError(
        absl::StrCat(address.ToString(), ": the path exists and is not a socket"));
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::UnavailableError(absl::StrCat("socket: ", std::strerror(errno)));
  const absl::Cleanup close_fd = [fd] { close(fd); };
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, address.path.c_str(), address.path.size() + 1);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0)
    return absl::UnavailableError(
        absl::StrCat(address.ToString(), ": another process listens there"));
  // Only a refusal proves that nobody listens; a full backlog or missing rights do not.
  if (errno == ENOENT) return absl::OkStatus();
  if (errno != ECONNREFUSED)
    return absl::UnavailableError(
        absl::StrCat(address.ToString(), ": the socket is in use: ", std::strerror(errno)));
  unlink(address.path.c_str());
  return absl::OkStatus();
}

}  // namespace qc2c
