#include "common/codec/selection.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/fault_status.h"
#include "common/codec/rows.h"

namespace qc2c {
namespace {

constexpr int32_t kPartialSums = 8;

float SumOfSquares(const float* values, int32_t head_dim) {
  std::array<float, kPartialSums> s = {};
  int32_t d = 0;
  for (; d + kPartialSums <= head_dim; d += kPartialSums) {
    for (int32_t j = 0; j < kPartialSums; ++j) s[j] += values[d + j] * values[d + j];
  }
  for (int32_t j = 0; d + j < head_dim; ++j) s[j] += values[d + j] * values[d + j];
  return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

// Adds one layer's mean norm to every token's score.
BlockFaults AddLayer(const BlockRows& rows, std::vector<float>& scores) {
  std::array<float, KvLayout::kMaxHeadDim> values;
  BlockFaults faults = 0;
  for (size_t t = 0; t < scores.size(); ++t) {
    float norms = 0.0f;
    for (int32_t h = 0; h < rows.num_heads; ++h) {
      LoadRow(rows.dtype, rows.Row(t, h), rows.head_dim, values.data());
      if (MaxMagnitudeBits(values.data(), rows.head_dim) >= kNotFiniteBits) faults |= kNotFinite;
      norms += std::sqrt(SumOfSquares(values.data(), rows.head_dim));
    }
    scores[t] += norms / static_cast<float>(rows.num_heads);
  }
  return faults;
}

}  // namespace

std::vector<uint32_t> FixedPositions(Selection selection, uint32_t num_tokens, uint32_t num_kept) {
  std::vector<uint32_t> positions(num_kept);
  std::iota(positions.begin(), positions.end(),
            selection == Selection::kBack ? num_tokens - num_kept : 0);
  return positions;
}

std::vector<uint32_t> LargestScores(std::span<const float> scores, uint32_t num_kept) {
  std::vector<uint32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::nth_element(order, order.begin() + num_kept, [&](uint32_t a, uint32_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  });
  order.resize(num_kept);
  std::ranges::sort(order);
  return order;
}

absl::StatusOr<std::vector<uint32_t>> SelectTokens(const KvCacheView& cache,
                                                   std::span<const int32_t> layers,
                                                   const CodecSpec& codec) {
  const auto num_tokens = static_cast<uint32_t>(cache.num_tokens);
  const uint32_t num_kept = codec.NumKept(num_tokens);
  if (!NeedsScores(codec.selection)) {
    return FixedPositions(codec.selection, num_tokens, num_kept);
  }
  const std::vector<uint32_t> every = FixedPositions(Selection::kAll, num_tokens, num_tokens);
  const Half half = ScoredHalf(codec.selection);
  std::vector<float> scores(num_tokens, 0.0f);
  for (const int32_t layer : layers) {
    const BlockRows rows = {.plane = cache.Plane(layer, half),
                            .dtype = cache.dtype,
                            .num_heads = cache.layout.num_kv_heads,
                            .head_dim = cache.layout.head_dim,
                            .positions = every};
    RETURN_IF_ERROR(FaultStatus(AddLayer(rows, scores), layer, half, codec));
  }
  return LargestScores(scores, num_kept);
}

}  // namespace qc2c
