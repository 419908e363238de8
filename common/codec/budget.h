// A codec with `budget_bytes` becomes one that says for each tensor what it gets, and how many
// tokens: the one of least distortion whose frame is not larger than the budget.
//
// The alternatives of a tensor are the precisions of at most the codec's own width, and not to be
// sent. For a number of tokens (taken in the order of the codec's selection) a Lagrangian,
// distortion + lambda * bytes, is minimised over all alternatives of every tensor at once, lambda
// found by bisection; what it leaves of the budget is filled greedily. The numbers of tokens that
// are tried are a geometric series, down from the codec's own number if it has one, and, for each
// precision, the most that fit when all tensors have it. So no uniform precision with the same
// selection in the same bytes is better.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/codec/codec.h"

namespace qc2c {

// By sharer layer, what a unit of squared error costs; layers beyond the end: 1.
struct TensorWeights {
  std::vector<double> keys;
  std::vector<double> values;

  double Of(const KvTensorId& tensor) const {
    const std::vector<double>& list = tensor.half == Half::kKey ? keys : values;
    return static_cast<size_t>(tensor.layer) < list.size() ? list[tensor.layer] : 1.0;
  }
};

// The bytes that a frame takes where the budget counts them. The frame's values are of no meaning.
using FrameBytes = std::function<absl::StatusOr<uint64_t>(const KvFrame& frame)>;

struct BudgetPlan {
  CodecSpec codec;        // without a budget; for a selection, with keep_tokens
  double distortion = 0;  // weighted, over the tensors asked for
  uint64_t bytes = 0;     // at most the budget
};

// REQUIRES: codec.budget_bytes > 0. Reads the cache as EncodeCache does, on the CPU: one in GPU
// memory is copied. INVALID_ARGUMENT as from EncodeCache, and naming budget_bytes, with the bytes
// of the smallest frame, if that does not fit.
absl::StatusOr<BudgetPlan> PlanBudget(const KvCacheView& cache, const KvLayerSet& layers,
                                      const CodecSpec& codec, const TensorWeights& weights,
                                      const FrameBytes& frame_bytes);

// Whether `resolved` is a codec that a request for `asked`, with a budget, may be answered with for
// so many tokens. FAILED_PRECONDITION naming both if it is not.
absl::Status CheckResolved(const CodecSpec& asked, const CodecSpec& resolved, uint32_t num_tokens);

}  // namespace qc2c
