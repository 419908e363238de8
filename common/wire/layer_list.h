// The sent layers: what writer and reader both demand of the list.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "common/tensor/kv_cache_view.h"

namespace qc2c {

// INVALID_ARGUMENT unless `layers` are at least one, ascending, distinct and below
// layout.num_layers.
absl::Status CheckLayers(const KvLayout& layout, const std::vector<int32_t>& layers);

}  // namespace qc2c
