// Scores of tokens for the selections that read more than the cache.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "common/codec/codec.h"
#include "common/model/model.h"

namespace qc2c {

// select=attention, after SnapKV (arXiv:2404.14469). Of one layer, N tokens having been read:
//   the last W = min(window, N) tokens are kept first, the later before the earlier: token N - W +
//   i has the score W + 1 + i; a token before them has the mean over `pool` neighbours (it in the
//   middle; 0 beyond token 0 and from token N - W on) of the attention that those W tokens give:
//   the sum over them, the mean over query heads, which is at most W.
// `attention` is Model::Forward's for `window` tokens of row `row`; [L, N] fp32 on its device.
at::Tensor AttentionScores(const std::vector<at::Tensor>& attention, int64_t row,
                           int64_t num_tokens, const CodecSpec& codec);

}  // namespace qc2c
