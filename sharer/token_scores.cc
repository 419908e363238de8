#include "sharer/token_scores.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/avg_pool1d.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>

#include <algorithm>

namespace qc2c {

at::Tensor AttentionScores(const std::vector<at::Tensor>& attention, int64_t row,
                           int64_t num_tokens, const CodecSpec& codec) {
  std::vector<at::Tensor> of_row;
  for (const at::Tensor& layer : attention) of_row.push_back(layer[row]);
  const auto num_layers = static_cast<int64_t>(attention.size());
  const int64_t window = std::min<int64_t>(codec.window, num_tokens);
  const at::Tensor last =
      (at::arange(window, of_row[0].options()) + (window + 1)).expand({num_layers, window});
  if (window == num_tokens) return last.contiguous();
  const at::Tensor before = at::stack(of_row).narrow(1, 0, num_tokens - window);
  return at::cat({at::avg_pool1d(before.unsqueeze(1), codec.pool, /*stride=*/1,
                                 /*padding=*/codec.pool / 2)
                      .squeeze(1),
                  last},
                 1);
}

}  // namespace qc2c
