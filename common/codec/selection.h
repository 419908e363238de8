// Which tokens a frame carries.
//
// Norm selections keep the tokens of the largest score:
//   score(t) = sum over the sent layers, in order, of (sum over heads, in order, of |x(t, h)|) / H
// on the values before quantization, x being keys or values and |.| the L2 norm. All in fp32
// without fused multiply-add. The sum of squares of a row has eight partial sums, d mod 8, added as
//   ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7)).
// Of equal scores the earlier token is kept.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/codec/codec.h"

namespace qc2c {

// The kept positions, ascending; codec.NumKept(cache.num_tokens) of them. INVALID_ARGUMENT naming
// layer and half if a value that a norm needs is NaN or infinite. REQUIRES: a CPU cache with these
// layers.
absl::StatusOr<std::vector<uint32_t>> SelectTokens(const KvCacheView& cache,
                                                   std::span<const int32_t> layers,
                                                   const CodecSpec& codec);

// The `num_kept` positions of the largest scores, ascending; of equal scores the earlier.
// REQUIRES: no NaN, num_kept <= scores.size().
std::vector<uint32_t> LargestScores(std::span<const float> scores, uint32_t num_kept);

// The positions of a selection that needs no scores: all, front or back.
std::vector<uint32_t> FixedPositions(Selection selection, uint32_t num_tokens, uint32_t num_kept);

constexpr bool NeedsScores(Selection selection) {
  return selection == Selection::kKeyNorm || selection == Selection::kValueNorm;
}

constexpr Half ScoredHalf(Selection selection) {
  return selection == Selection::kKeyNorm ? Half::kKey : Half::kValue;
}

}  // namespace qc2c
