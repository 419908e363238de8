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
// Others keep the tokens of the largest scores that the caller of the codec gives
// (CodecContext::token_scores), one a layer and token, which are added over the layers in the same
// way:
//
// attention          what the last `window` tokens that the model read give to a token
//                    (sharer/token_scores.h)
// projected_norm     the norm of the value that the receiver's fuser makes of a token's, and
// residual_norm      of what it adds: both for a sharer that holds the receiver and the fuser
//
// Of equal scores the earlier token is kept. All layers count, sent or not: which tokens are kept
// does not depend on what else a receiver asks for. With IndexSets::kPerLayer each layer that sends
// anything keeps the K tokens of its own largest score: the sum is over that layer alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/codec/codec.h"
#include "common/codec/codec_context.h"

namespace qc2c {

// The kept positions as KvFrame::positions has them, `layers` being those that are sent.
// INVALID_ARGUMENT naming layer, half, token and head if a value that a norm needs is NaN or
// infinite, or layer and token if a given score is or is negative. REQUIRES: a CPU cache with the
// selection's ScoredTensors; `given` if the selection HasGivenScores.
absl::StatusOr<std::vector<uint32_t>> SelectTokens(const KvCacheView& cache,
                                                   const KvLayerSet& layers, const CodecSpec& codec,
                                                   const TokenScores& given = {});

// INVALID_ARGUMENT naming the first of a layer's given scores that is not finite or is negative.
absl::Status CheckGivenScores(std::span<const float> scores, int32_t layer);

// The `num_kept` positions of the largest scores, ascending; of equal scores the earlier.
// REQUIRES: no NaN, num_kept <= scores.size().
std::vector<uint32_t> LargestScores(std::span<const float> scores, uint32_t num_kept);

// Whether the scores take the receiver's model and its fuser, which a sharer may or may not hold.
constexpr bool NeedsReceiver(Selection selection) {
  return selection == Selection::kProjectedNorm || selection == Selection::kResidualNorm;
}

// Whether the scores come from the caller.
constexpr bool HasGivenScores(Selection selection) {
  return selection == Selection::kAttention || NeedsReceiver(selection);
}

// Whether the positions depend on more than the codec, so that they travel.
constexpr bool NeedsScores(Selection selection) {
  return selection == Selection::kKeyNorm || selection == Selection::kValueNorm ||
         HasGivenScores(selection);
}

// The positions, ascending, of a selection that needs no scores, so that they follow from the
// codec; of one that does, the first num_kept. REQUIRES: 1 <= num_kept <= num_tokens.
std::vector<uint32_t> FixedPositions(const CodecSpec& codec, uint32_t num_tokens,
                                     uint32_t num_kept);

constexpr Half ScoredHalf(Selection selection) {
  return selection == Selection::kKeyNorm ? Half::kKey : Half::kValue;
}

// The layers whose scores count: every layer, or with an index set a layer those that are sent.
std::vector<int32_t> ScoredLayers(const CodecSpec& codec, const KvLayout& layout,
                                  const KvLayerSet& layers);

// What a selection by norm reads: its half of ScoredLayers. REQUIRES: NeedsScores(codec.selection).
// Of given scores nothing.
std::vector<KvTensorId> ScoredTensors(const CodecSpec& codec, const KvLayout& layout,
                                      const KvLayerSet& layers);

}  // namespace qc2c
