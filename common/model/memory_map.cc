#include "common/model/memory_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace qc2c {

absl::StatusOr<std::shared_ptr<MemoryMap>> MemoryMap::Open(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return absl::NotFoundError(absl::StrCat("no such file: ", path.string()));
  }
  const auto failed = [&path] {
    return absl::DataLossError(
        absl::StrCat("cannot read ", path.string(), ": ", std::strerror(errno)));
  };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return failed();
  struct stat info = {};
  if (::fstat(fd, &info) != 0) {
    const absl::Status status = failed();
    ::close(fd);
    return status;
  }
  const size_t size = static_cast<size_t>(info.st_size);
  void* data = nullptr;
  if (size > 0) data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  const absl::Status status = data == MAP_FAILED ? failed() : absl::OkStatus();
  ::close(fd);
  if (!status.ok()) return status;
  return std::shared_ptr<MemoryMap>(new MemoryMap(static_cast<uint8_t*>(data), size));
}

MemoryMap::~MemoryMap() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace qc2c
