#include "common/codec/distortion.h"

#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "common/base/status_macros.h"
#include "common/codec/fault_status.h"
#include "common/codec/rows.h"
#include "common/codec/scheme_registry.h"

namespace qc2c {
namespace {

using Row = std::array<float, KvLayout::kMaxHeadDim>;

bool FollowsTokens(const CodecSpec& precision) {
  return precision.axis == Axis::kNone || ScalesFollowTokens(precision.axis);
}

double SumOf(std::span<const double> values, std::span<const uint32_t> positions) {
  double sum = 0;
  for (const uint32_t position : positions) sum += values[position];
  return sum;
}

}  // namespace

BlockRows DistortionTable::RowsOf(size_t i, std::span<const uint32_t> positions) const {
  return {.plane = cache_->Plane(tensors_[i].layer, tensors_[i].half),
          .dtype = cache_->dtype,
          .num_heads = cache_->layout.num_kv_heads,
          .head_dim = cache_->layout.head_dim,
          .positions = positions};
}

// The squared error of each of `positions`; infinite for all if the block cannot be encoded.
std::vector<double> DistortionTable::TokenErrors(size_t i, size_t p,
                                                 std::span<const uint32_t> positions) const {
  const BlockRows rows = RowsOf(i, positions);
  const size_t num_kept = positions.size();
  const int32_t heads = rows.num_heads;
  const int32_t head_dim = rows.head_dim;
  const CodecSpec& precision = precisions_[p];
  const SchemeCoder& coder = *FindScheme(precision.scheme);
  std::vector<uint8_t> codes(num_kept * heads * coder.RowBytes(head_dim));
  std::vector<uint8_t> scales(ScaleBytesBefore(precision.scaling(), num_kept, heads, head_dim));
  std::vector<double> errors(num_kept, std::numeric_limits<double>::infinity());
  if (coder.EncodeBlock(rows, precision.scaling(), codes, scales) != 0) return errors;
  std::vector<float> decoded(num_kept * heads * head_dim);
  const BlockRows out = {.plane = {decoded.data(), int64_t{heads} * head_dim, head_dim},
                         .dtype = DType::kFp32,
                         .num_heads = heads,
                         .head_dim = head_dim,
                         .positions = std::span(every_).first(num_kept)};
  coder.DecodeBlock(codes, scales, precision.scaling(), out);
  Row own;
  const float* sent = decoded.data();
  for (size_t t = 0; t < num_kept; ++t) {
    errors[t] = 0;
    for (int32_t h = 0; h < heads; ++h) {
      LoadRow(rows.dtype, rows.Row(t, h), head_dim, own.data());
      float sum = 0;
      for (int32_t d = 0; d < head_dim; ++d) sum += (sent[d] - own[d]) * (sent[d] - own[d]);
      errors[t] += sum;
      sent += head_dim;
    }
  }
  return errors;
}

absl::StatusOr<DistortionTable> DistortionTable::Measure(const KvCacheView& cache,
                                                         std::vector<KvTensorId> tensors,
                                                         std::vector<CodecSpec> precisions) {
  DistortionTable table;
  table.cache_ = &cache;
  table.tensors_ = std::move(tensors);
  table.precisions_ = std::move(precisions);
  table.every_.resize(cache.num_tokens);
  std::iota(table.every_.begin(), table.every_.end(), 0);
  Row row;
  for (size_t i = 0; i < table.tensors_.size(); ++i) {
    const BlockRows rows = table.RowsOf(i, table.every_);
    std::vector<double> energy(cache.num_tokens, 0);
    for (size_t t = 0; t < energy.size(); ++t) {
      for (int32_t h = 0; h < rows.num_heads; ++h) {
        LoadRow(rows.dtype, rows.Row(t, h), rows.head_dim, row.data());
        for (int32_t d = 0; d < rows.head_dim; ++d) energy[t] += double{row[d]} * row[d];
      }
    }
    table.energy_.push_back(std::accumulate(energy.begin(), energy.end(), 0.0));
    if (!std::isfinite(table.energy_.back())) {
      RETURN_IF_ERROR(FaultStatus(kNotFinite, table.tensors_[i], rows, CodecSpec()));
    }
    table.token_energy_.push_back(std::move(energy));
    std::vector<std::vector<double>>& errors = table.token_errors_.emplace_back();
    for (size_t p = 0; p < table.precisions_.size(); ++p) {
      errors.push_back(FollowsTokens(table.precisions_[p]) ? table.TokenErrors(i, p, table.every_)
                                                           : std::vector<double>());
    }
  }
  return table;
}

double DistortionTable::Sent(size_t i, size_t p, std::span<const uint32_t> positions) const {
  const double not_sent = energy_[i] - SumOf(token_energy_[i], positions);
  const std::vector<double>& errors = token_errors_[i][p];
  if (!errors.empty()) return not_sent + SumOf(errors, positions);
  const std::vector<double> of_kept = TokenErrors(i, p, positions);
  return not_sent + std::accumulate(of_kept.begin(), of_kept.end(), 0.0);
}

}  // namespace qc2c
