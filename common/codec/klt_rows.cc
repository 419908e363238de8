#include "common/codec/klt_rows.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/rows.h"

namespace qc2c {

KltRows::KltRows(const KltCodebook& codebook, std::span<const uint32_t> positions,
                 const KvCacheView& cache)
    : codebook_(&codebook), cache_(cache) {
  const auto behind = positions.subspan(codebook.prompt_template.num_prefix());
  positions_.assign(behind.begin(), behind.end());
  for (const Half half : {Half::kKey, Half::kValue}) {
    const auto h = static_cast<size_t>(half);
    dims_[h] = codebook.Dim(half);
    values_[h] = std::make_unique_for_overwrite<float[]>(size() * dims_[h]);
    is_read_[h].resize(size());
  }
}

absl::Status KltRows::Read(Half half, size_t begin, size_t end) {
  const auto h = static_cast<size_t>(half);
  const size_t num_middle = size() - codebook_->prompt_template.num_tail();
  for (size_t row = begin; row < end; ++row) {
    if (is_read_[h][row]) continue;
    float* const values = values_[h].get() + row * dims_[h];
    RETURN_IF_ERROR(ReadRow(half, row, values));
    if (half == Half::kKey) Unrotate(row, values);
    const float* const mean = row < num_middle
                                  ? codebook_->middle_mean[h].data()
                                  : codebook_->tail_mean[h].data() + (row - num_middle) * dims_[h];
    for (size_t n = 0; n < dims_[h]; ++n) values[n] -= mean[n];
    is_read_[h][row] = true;
  }
  return absl::OkStatus();
}

absl::Status KltRows::ReadRow(Half half, size_t row, float* out) const {
  const size_t head_dim = cache_.layout.head_dim;
  const size_t token = row + num_cached() - size();  // in the cache
  for (const int32_t layer : codebook_->layers.Of(half)) {
    const KvPlane& plane = cache_.Plane(layer, half);
    for (int32_t head = 0; head < cache_.layout.num_kv_heads; ++head, out += head_dim) {
      const int64_t element =
          static_cast<int64_t>(token) * plane.token_stride + head * plane.head_stride;
      LoadRow(cache_.dtype,
              static_cast<const std::byte*>(plane.data) + element * DTypeBytes(cache_.dtype),
              head_dim, out);
      if (MaxMagnitudeBits(out, head_dim) < kNotFiniteBits) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("cache layer ", layer, " ", std::string(HalfName(half)), " token ",
                       codebook_->prompt_template.num_prefix() + row, " head ", head,
                       " has a value that is not finite"));
    }
  }
  return absl::OkStatus();
}

void KltRows::Unrotate(size_t row, float* keys) const {
  const KeyRotation& rotation = codebook_->rotation;
  const size_t head_dim = codebook_->layout.head_dim;
  std::vector<RotaryTable> tables;
  for (const std::vector<float>& list : rotation.frequencies) {
    tables.emplace_back(list, std::span(positions_).subspan(row, 1));
  }
  for (const int32_t layer : codebook_->layers.keys) {
    const RotaryTable& table = tables[rotation.of_layer[layer]];
    for (int32_t h = 0; h < codebook_->layout.num_kv_heads; ++h, keys += head_dim) {
      qc2c::Unrotate(table.Cosines(0), table.Sines(0), head_dim / 2, keys);
    }
  }
}

}  // namespace qc2c
