#include "common/model/attention_mass.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

#include "common/model/layers.h"

namespace qc2c {

LastTokens MakeLastTokens(const at::Tensor& lengths, const std::vector<int64_t>& counts) {
  const at::Tensor order =
      at::arange(*std::max_element(counts.begin(), counts.end()), lengths.options());
  const at::Tensor slots = lengths.unsqueeze(1) - 1 - order;
  const at::Tensor wanted = at::tensor(counts, at::kLong).to(lengths.device()).unsqueeze(1);
  return {slots.clamp_min(0), slots.ge(0).logical_and_(order < wanted)};
}

namespace {

// The mask's lines of the queries, [B, W, T] or [B * W, T].
at::Tensor MaskOfQueries(const at::Tensor& mask, const at::Tensor& slots, int64_t num_tokens) {
  if (!mask.defined()) {
    return AdditiveMask(at::arange(num_tokens, slots.options()) <= slots.view({-1, 1}), at::kFloat);
  }
  if (mask.dim() == 2) return mask.to(at::kFloat).index_select(0, slots.flatten());
  return mask.squeeze(1)
      .to(at::kFloat)
      .gather(1, slots.unsqueeze(-1).expand({slots.size(0), slots.size(1), num_tokens}));
}

}  // namespace

at::Tensor AttentionMass(const at::Tensor& q, const at::Tensor& k, const at::Tensor& mask,
                         const LastTokens& last, double scale) {
  const int64_t batch = k.size(0);
  const int64_t num_kv_heads = k.size(1);
  const int64_t num_tokens = k.size(2);
  const int64_t num_queries = last.slots.size(1);
  const at::Tensor slots = last.slots.view({batch, 1, num_queries, 1})
                               .expand({batch, q.size(1), num_queries, q.size(3)});
  // Query heads that share a KV head lie one after another.
  const at::Tensor queries =
      q.gather(2, slots).to(at::kFloat).view({batch, num_kv_heads, -1, q.size(3)});
  const at::Tensor products = at::matmul(queries, k.to(at::kFloat).transpose(2, 3)) * scale;
  const at::Tensor of_query = MaskOfQueries(mask, last.slots, num_tokens);
  const at::Tensor attention =
      at::softmax(products.view({batch, num_kv_heads, -1, num_queries, num_tokens}) +
                      of_query.view({batch, 1, 1, num_queries, num_tokens}),
                  -1);
  return (attention * last.is_query.view({batch, 1, 1, num_queries, 1})).sum(3).mean({1, 2});
}

}  // namespace qc2c
