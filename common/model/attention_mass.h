// How much of their attention the last tokens of each row give to every token: what a selection by
// attention is made of (SnapKV, arXiv:2404.14469).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace qc2c {

// The last tokens of each row, as queries.
struct LastTokens {
  at::Tensor slots;     // [B, W] int64: the row's last token, the one before, ...; 0 past its first
  at::Tensor is_query;  // [B, W] bool: there is such a token, and the row wants it
};

// counts[b] of row b, W being the largest; lengths [B] on the model's device. REQUIRES: one count a
// row, one of them at least 1.
LastTokens MakeLastTokens(const at::Tensor& lengths, const std::vector<int64_t>& counts);

// The sum over a row's queries of the mean over query heads of softmax(q k^T scale), in fp32:
// [B, T], at most the row's count each. q [B, Hq, T, D] and k [B, H, T, D] are those of a whole
// prompt; `mask`, [T, T] or [B, 1, T, T], is added to the products, causal if it is undefined.
at::Tensor AttentionMass(const at::Tensor& q, const at::Tensor& k, const at::Tensor& mask,
                         const LastTokens& last, double scale);

}  // namespace qc2c
