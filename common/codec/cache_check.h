// Checks of a cache view that every entry point makes first.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "common/codec/layer_set.h"
#include "common/tensor/kv_cache_view.h"

namespace qc2c {

// INVALID_ARGUMENT naming the field, unless the layout is valid, num_tokens is 1 .. kMaxTokens,
// there are num_layers key and value planes, and every one of `tensors` (already checked against
// the layout) is present with strides of at least 0.
absl::Status CheckCache(const KvCacheView& cache, std::span<const KvTensorId> tensors);

}  // namespace qc2c
