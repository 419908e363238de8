#include "common/codec/selection.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <numeric>
#include <utility>

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

std::vector<uint32_t> CountFrom(uint32_t first, uint32_t num) {
  std::vector<uint32_t> positions(num);
  std::iota(positions.begin(), positions.end(), first);
  return positions;
}

// A layer's scores, found or given.
absl::Status AddScores(const KvCacheView& cache, int32_t layer, const CodecSpec& codec,
                       const TokenScores& given, std::vector<float>& scores) {
  if (HasGivenScores(codec.selection)) {
    const std::span<const float> of_layer(given.Layer(layer), scores.size());
    RETURN_IF_ERROR(CheckGivenScores(of_layer, layer));
    for (size_t t = 0; t < scores.size(); ++t) scores[t] += of_layer[t];
    return absl::OkStatus();
  }
  const KvTensorId tensor = {layer, ScoredHalf(codec.selection)};
  const std::vector<uint32_t> every = CountFrom(0, static_cast<uint32_t>(scores.size()));
  const BlockRows rows = {.plane = cache.Plane(tensor.layer, tensor.half),
                          .dtype = cache.dtype,
                          .num_heads = cache.layout.num_kv_heads,
                          .head_dim = cache.layout.head_dim,
                          .positions = every};
  return FaultStatus(AddLayer(rows, scores), tensor, rows, codec);
}

std::vector<uint32_t> Strided(uint32_t num_tokens, uint32_t num_kept) {
  std::vector<uint32_t> positions(num_kept);
  for (uint32_t j = 0; j < num_kept; ++j) {
    positions[num_kept - 1 - j] =
        num_tokens - 1 - static_cast<uint32_t>(uint64_t{j} * num_tokens / num_kept);
  }
  return positions;
}

uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

std::vector<uint32_t> Random(uint32_t seed, uint32_t num_tokens, uint32_t num_kept) {
  std::vector<std::pair<uint64_t, uint32_t>> order(num_tokens);
  for (uint32_t t = 0; t < num_tokens; ++t) order[t] = {Mix(uint64_t{seed} << 32 | t), t};
  std::ranges::nth_element(order, order.begin() + (num_kept - 1));
  std::vector<uint32_t> positions(num_kept);
  for (uint32_t i = 0; i < num_kept; ++i) positions[i] = order[i].second;
  std::ranges::sort(positions);
  return positions;
}

std::vector<uint32_t> Sinks(uint32_t sinks, uint32_t num_tokens, uint32_t num_kept) {
  std::vector<uint32_t> positions = CountFrom(0, std::min(sinks, num_kept));
  const auto num_front = static_cast<uint32_t>(positions.size());
  for (uint32_t p = num_tokens - (num_kept - num_front); p < num_tokens; ++p) {
    positions.push_back(p);
  }
  return positions;
}

}  // namespace

std::vector<uint32_t> FixedPositions(const CodecSpec& codec, uint32_t num_tokens,
                                     uint32_t num_kept) {
  switch (codec.selection) {
    case Selection::kBack:
      return CountFrom(num_tokens - num_kept, num_kept);
    case Selection::kStrided:
      return Strided(num_tokens, num_kept);
    case Selection::kRandom:
      return Random(codec.seed, num_tokens, num_kept);
    case Selection::kSinks:
      return Sinks(codec.sinks, num_tokens, num_kept);
    default:
      return CountFrom(0, num_kept);
  }
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

std::vector<int32_t> ScoredLayers(const CodecSpec& codec, const KvLayout& layout,
                                  const KvLayerSet& layers) {
  if (codec.index_sets == IndexSets::kPerLayer) return layers.Layers();
  std::vector<int32_t> all(layout.num_layers);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

std::vector<KvTensorId> ScoredTensors(const CodecSpec& codec, const KvLayout& layout,
                                      const KvLayerSet& layers) {
  std::vector<KvTensorId> tensors;
  if (HasGivenScores(codec.selection)) return tensors;
  for (const int32_t layer : ScoredLayers(codec, layout, layers)) {
    tensors.push_back({layer, ScoredHalf(codec.selection)});
  }
  return tensors;
}

absl::Status CheckGivenScores(std::span<const float> scores, int32_t layer) {
  for (size_t t = 0; t < scores.size(); ++t) {
    if (std::isfinite(scores[t]) && !std::signbit(scores[t])) continue;
    return absl::InvalidArgumentError(absl::StrCat("layer ", layer, " gives token ", t,
                                                   " a score of ", scores[t],
                                                   ": expected a finite number of at least 0"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<uint32_t>> SelectTokens(const KvCacheView& cache,
                                                   const KvLayerSet& layers, const CodecSpec& codec,
                                                   const TokenScores& given) {
  const auto num_tokens = static_cast<uint32_t>(cache.num_tokens);
  const uint32_t num_kept = codec.NumKept(num_tokens);
  if (!NeedsScores(codec.selection)) {
    return FixedPositions(codec, num_tokens, num_kept);
  }
  std::vector<float> scores(num_tokens, 0.0f);
  std::vector<uint32_t> positions;
  for (const int32_t layer : ScoredLayers(codec, cache.layout, layers)) {
    RETURN_IF_ERROR(AddScores(cache, layer, codec, given, scores));
    if (codec.index_sets == IndexSets::kOne) continue;
    std::ranges::copy(LargestScores(scores, num_kept), std::back_inserter(positions));
    std::ranges::fill(scores, 0.0f);
  }
  return codec.index_sets == IndexSets::kOne ? LargestScores(scores, num_kept) : positions;
}

}  // namespace qc2c
