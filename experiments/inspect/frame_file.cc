#include "experiments/inspect/frame_file.h"

#include <algorithm>
#include <cctype>
#include <cstdint>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/wire/frame_codec.h"

namespace qc2c {
namespace {

constexpr uint64_t kMaxMessageBytes = uint64_t{kMaxChunkBytes} + kMessageSlackBytes;

bool IsHex(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isxdigit(c) != 0 || c == '\n' || c == '\r';
  });
}

absl::StatusOr<std::vector<std::string>> FromHex(const std::string& text) {
  std::vector<std::string> messages;
  for (absl::string_view line : absl::StrSplit(text, absl::ByAnyChar("\r\n"), absl::SkipEmpty())) {
    if (line.size() % 2 != 0) {
      return absl::DataLossError(absl::StrCat("message ", messages.size(), ": ", line.size(),
                                              " hexadecimal digits: expected an even number"));
    }
    messages.push_back(absl::HexStringToBytes(line));
  }
  return messages;
}

absl::StatusOr<std::vector<std::string>> FromDelimited(const std::string& bytes) {
  std::vector<std::string> messages;
  size_t at = 0;
  while (at < bytes.size()) {
    uint64_t length = 0;
    bool more = true;
    for (int shift = 0; more && at < bytes.size() && shift < 35; shift += 7) {
      const auto byte = static_cast<uint8_t>(bytes[at++]);
      length |= uint64_t{byte & 0x7fu} << shift;
      more = (byte & 0x80u) != 0;
    }
    const std::string where = absl::StrCat("message ", messages.size());
    if (length > kMaxMessageBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, " has ", length, " bytes: expected at most ", kMaxMessageBytes));
    }
    if (more || length > bytes.size() - at) {
      return absl::DataLossError(absl::StrCat(where, " passes the end of the file"));
    }
    messages.push_back(bytes.substr(at, length));
    at += length;
  }
  return messages;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ReadFrameFile(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  absl::StatusOr<std::vector<std::string>> messages =
      IsHex(content) ? FromHex(content) : FromDelimited(content);
  if (messages.ok() && messages->empty()) {
    messages = absl::InvalidArgumentError("no messages");
  }
  if (messages.ok()) return messages;
  return absl::Status(messages.status().code(),
                      absl::StrCat(path.string(), ": ", messages.status().message()));
}

}  // namespace qc2c
