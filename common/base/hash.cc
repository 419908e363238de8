#include "common/base/hash.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

constexpr size_t kChunkBytes = size_t{1} << 20;

// In chunks: a model's weights need not fit the memory.
absl::Status AddFile(const std::filesystem::path& path, Hasher& hasher) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return absl::NotFoundError(absl::StrCat("no such file: ", path.string()));
  }
  const uint64_t size = std::filesystem::file_size(path, error);
  std::ifstream in(path, std::ios::binary);
  hasher.AddU64(size);
  std::string chunk(kChunkBytes, '\0');
  uint64_t left = size;
  while (left > 0 && in) {
    in.read(chunk.data(), static_cast<std::streamsize>(std::min<uint64_t>(left, chunk.size())));
    hasher.Add(AsBytes(chunk).first(static_cast<size_t>(in.gcount())));
    left -= static_cast<uint64_t>(in.gcount());
  }
  if (error || !in.is_open() || left > 0) {
    return absl::DataLossError(absl::StrCat("cannot read ", path.string()));
  }
  return absl::OkStatus();
}

}  // namespace

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
  for (const auto& path : paths) RETURN_IF_ERROR(AddFile(path, hasher));
  return hasher.Digest();
}

std::string HashText(uint64_t hash) { return absl::StrFormat("%016x", hash); }

}  // namespace qc2c
