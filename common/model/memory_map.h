// A file as memory. The map is private: writing to it changes neither the file nor another map.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"

namespace qc2c {

class MemoryMap {
 public:
  // NOT_FOUND if there is no such regular file, DATA_LOSS if it cannot be read.
  static absl::StatusOr<std::shared_ptr<MemoryMap>> Open(const std::filesystem::path& path);

  uint8_t* data() const { return data_; }  // nullptr for an empty file
  size_t size() const { return size_; }

  MemoryMap(const MemoryMap&) = delete;
  MemoryMap& operator=(const MemoryMap&) = delete;
  ~MemoryMap();

 private:
  MemoryMap(uint8_t* data, size_t size) : data_(data), size_(size) {}

  uint8_t* data_;
  size_t size_;
};

}  // namespace qc2c
