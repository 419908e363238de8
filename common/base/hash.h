// XXH3-64: names content (models, tokenizers, fusers) and closes every frame. Not cryptographic.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"

namespace qc2c {

// Incremental XXH3-64 (seed 0), the canonical published algorithm.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;

  Hasher& Add(ByteSpan bytes);
  Hasher& AddU32(uint32_t value);  // four bytes, little-endian
  Hasher& AddU64(uint64_t value);  // eight bytes, little-endian
  uint64_t Digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

uint64_t Hash(ByteSpan bytes);

// The hash of the files' contents one after another, each preceded by its length. NOT_FOUND or
// DATA_LOSS naming the file. Reads in chunks, whatever the files' sizes.
absl::StatusOr<uint64_t> HashFiles(const std::vector<std::filesystem::path>& paths);

// Sixteen lower-case hexadecimal digits.
std::string HashText(uint64_t hash);

}  // namespace qc2c
