// Which tokens a frame carries: K of T.
//
// all, front, back   every token, the first, the last
// strided            T - 1 - floor(j * T / K) for j = 0 .. K - 1: evenly spaced, the last among
// them random             those of the K smallest Mix(seed * 2^32 + t), Mix being the finalizer of
//                    SplitMix64; of equal ones the earlier
// sinks              the first min(sinks, K), and the last K - min(sinks, K)
//
// Norm selections keep the tokens of the largest score:
//   score(t) = sum over all layers, in order, of (sum over heads, in order, of |x(t, h)|) / H
// on the values before quantization, x being keys or values and |.| the L2 norm. All in fp32
// without fused multiply-add. The sum of squares of a row has eight partial sums, d mod 8, added as
//   ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7)).
// Of equal scores the earlier token is kept. All layers count, sent or not: which tokens are kept
// does not depend on what else a receiver asks for. With IndexSets::kPerLayer each layer that sends
// anything keeps the K tokens of its own largest score: the sum is over that layer alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/codec/codec.h"

namespace qc2c {

// The kept positions as KvFrame::positions has them, `layers` being those that are sent.
// INVALID_ARGUMENT naming layer, half, token and head if a value that a norm needs is NaN or
// infinite. REQUIRES: a CPU cache with the selection's ScoredTensors.
absl::StatusOr<std::vector<uint32_t>> SelectTokens(const KvCacheView& cache,
                                                   const KvLayerSet& layers,
                                                   const CodecSpec& codec);

// The `num_kept` positions of the largest scores, ascending; of equal scores the earlier.
// REQUIRES: no NaN, num_kept <= scores.size().
std::vector<uint32_t> LargestScores(std::span<const float> scores, uint32_t num_kept);

constexpr bool NeedsScores(Selection selection) {
  return selection == Selection::kKeyNorm || selection == Selection::kValueNorm;
}

// The positions, ascending, of a selection that needs no scores, so that they follow from the
// codec; of one that does, the first num_kept. REQUIRES: 1 <= num_kept <= num_tokens.
std::vector<uint32_t> FixedPositions(const CodecSpec& codec, uint32_t num_tokens,
                                     uint32_t num_kept);

constexpr Half ScoredHalf(Selection selection) {
  return selection == Selection::kKeyNorm ? Half::kKey : Half::kValue;
}

// What a selection by norm reads: its half of every layer, or with an index set a layer of the
// layers that are sent. REQUIRES: NeedsScores(codec.selection).
std::vector<KvTensorId> ScoredTensors(const CodecSpec& codec, const KvLayout& layout,
                                      const KvLayerSet& layers);

}  // namespace qc2c
