#include "common/base/files.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"

namespace qc2c {

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return absl::NotFoundError(absl::StrCat("no such file: ", path.string()));
  }
  std::ifstream in(path, std::ios::binary);
  std::ostringstream content;
  // An empty file makes operator<< set failbit, so only a bad stream counts as unreadable.
  if (in) content << in.rdbuf();
  if (!in.is_open() || in.bad()) {
    return absl::DataLossError(absl::StrCat("cannot read ", path.string()));
  }
  return std::move(content).str();
}

absl::Status WriteFileAtomically(const std::filesystem::path& path, std::string_view content) {
  std::error_code error;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  const std::filesystem::path part = absl::StrCat(path.string(), ".part", ::getpid());
  {
    std::ofstream out(part, std::ios::binary | std::ios::trunc);
    out.write(content.data(), static_cast<std::streamsize>(content.size()));
    out.flush();
    if (!out) {
      return absl::DataLossError(
          absl::StrCat("cannot write ", part.string(), ": ", std::strerror(errno)));
    }
  }
  std::filesystem::rename(part, path, error);
  if (error) {
    return absl::DataLossError(
        absl::StrCat("cannot rename to ", path.string(), ": ", error.message()));
  }
  return absl::OkStatus();
}

}  // namespace qc2c
