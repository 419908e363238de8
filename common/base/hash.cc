#include "common/base/hash.h"

#include <xxhash.h>

#include <array>

#include "absl/strings/str_format.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace qc2c {

struct Hasher::State {
  XXH3_state_t* xxh = XXH3_createState();
  ~State() { XXH3_freeState(xxh); }
};

Hasher::Hasher() : state_(std::make_unique<State>()) { XXH3_64bits_reset(state_->xxh); }
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

Hasher& Hasher::Add(ByteSpan bytes) {
  XXH3_64bits_update(state_->xxh, bytes.data(), bytes.size());
  return *this;
}

Hasher& Hasher::AddU32(uint32_t value) {
  std::array<uint8_t, 4> bytes;
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(value >> (8 * i));
  return Add(bytes);
}

Hasher& Hasher::AddU64(uint64_t value) {
  return AddU32(static_cast<uint32_t>(value)).AddU32(static_cast<uint32_t>(value >> 32));
}

uint64_t Hasher::Digest() const { return XXH3_64bits_digest(state_->xxh); }

uint64_t Hash(ByteSpan bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

absl::StatusOr<uint64_t> HashFiles(const std::vector<std::filesystem::path>& paths) {
  Hasher hasher;
  for (const auto& path : paths) {
    ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
    hasher.AddU64(content.size()).Add(AsBytes(content));
  }
  return hasher.Digest();
}

std::string HashText(uint64_t hash) { return absl::StrFormat("%016x", hash); }

}  // namespace qc2c
