// What a klt encoder transforms: one row a token and half, read from the cache when it is first
// needed.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "common/codec/klt_codebook.h"
#include "common/codec/rotary.h"
#include "common/tensor/kv_cache_view.h"

namespace qc2c {

// A row has a token's values in the codebook's tensors of one half, [tensors, H, D], keys
// un-rotated, less the codebook's mean. Row 0 is the first token behind the template's prefix.
class KltRows {
 public:
  // Borrows the codebook and `cache`, which has the last of the wanted tokens; `positions` are
  // those of all wanted tokens.
  KltRows(const KltCodebook& codebook, std::span<const uint32_t> positions,
          const KvCacheView& cache);

  // Reads rows that have not been read. INVALID_ARGUMENT naming layer, half, token and head of a
  // NaN or infinity. REQUIRES: begin <= end <= size(), and the cache has their tokens.
  absl::Status Read(Half half, size_t begin, size_t end);

  // REQUIRES: read. The rows behind follow.
  const float* Row(Half half, size_t row) const {
    const auto h = static_cast<size_t>(half);
    return values_[h].get() + row * dims_[h];
  }
  size_t size() const { return positions_.size(); }
  // Tokens of the cache.
  size_t num_cached() const { return static_cast<size_t>(cache_.num_tokens); }

 private:
  absl::Status ReadRow(Half half, size_t row, float* out) const;
  void Unrotate(size_t row, float* keys) const;

  const KltCodebook* codebook_;
  std::vector<uint32_t> positions_;  // of the rows
  KvCacheView cache_;
  std::array<size_t, 2> dims_;                      // by Half
  std::array<std::unique_ptr<float[]>, 2> values_;  // by Half: [rows, dim], as far as read
  std::array<std::vector<bool>, 2> is_read_;
};

}  // namespace qc2c
