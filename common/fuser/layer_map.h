// Which sharer layer each receiver layer reads (C2C, arXiv:2510.03215, and its public code).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace qc2c {

// map[t] is the sharer layer that receiver layer t reads.
using LayerMap = std::vector<int32_t>;

// s(t) = clamp(S - T + t, 0, S - 1) for T receiver and S sharer layers.
LayerMap LastAlignedMap(int32_t num_receiver_layers, int32_t num_sharer_layers);

// s(t) = argmin_j |j / (S - 1) - t / (T - 1)| in double precision, ties to the smaller j; a model
// of a single layer sits at 0.
LayerMap KNearestMap(int32_t num_receiver_layers, int32_t num_sharer_layers);

// "last_aligned" or "k_nearest"; INVALID_ARGUMENT otherwise.
absl::StatusOr<LayerMap> MakeLayerMap(std::string_view strategy, int32_t num_receiver_layers,
                                      int32_t num_sharer_layers);

// The distinct sharer layers of a map, ascending: what has to travel, each once.
std::vector<int32_t> SharerLayers(const LayerMap& map);

}  // namespace qc2c
