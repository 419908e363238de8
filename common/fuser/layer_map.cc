#include "common/fuser/layer_map.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"

namespace qc2c {

LayerMap LastAlignedMap(int32_t num_receiver_layers, int32_t num_sharer_layers) {
  LayerMap map(num_receiver_layers);
  for (int32_t t = 0; t < num_receiver_layers; ++t) {
    map[t] = std::clamp(num_sharer_layers - num_receiver_layers + t, 0, num_sharer_layers - 1);
  }
  return map;
}

LayerMap KNearestMap(int32_t num_receiver_layers, int32_t num_sharer_layers) {
  const auto place = [](int32_t layer, int32_t num_layers) {
    return num_layers == 1 ? 0.0 : static_cast<double>(layer) / (num_layers - 1);
  };
  LayerMap map(num_receiver_layers);
  for (int32_t t = 0; t < num_receiver_layers; ++t) {
    const double target = place(t, num_receiver_layers);
    for (int32_t s = 1; s < num_sharer_layers; ++s) {
      const double nearest = std::abs(place(map[t], num_sharer_layers) - target);
      if (std::abs(place(s, num_sharer_layers) - target) < nearest) map[t] = s;
    }
  }
  return map;
}

absl::StatusOr<LayerMap> MakeLayerMap(std::string_view strategy, int32_t num_receiver_layers,
                                      int32_t num_sharer_layers) {
  if (num_receiver_layers < 1 || num_sharer_layers < 1) {
    return absl::InvalidArgumentError(absl::StrCat("layer map of ", num_receiver_layers,
                                                   " receiver and ", num_sharer_layers,
                                                   " sharer layers: expected at least 1 of each"));
  }
  if (strategy == "last_aligned") return LastAlignedMap(num_receiver_layers, num_sharer_layers);
  if (strategy == "k_nearest") return KNearestMap(num_receiver_layers, num_sharer_layers);
  return absl::InvalidArgumentError(absl::StrCat("layer map strategy is \"", std::string(strategy),
                                                 "\": expected last_aligned or k_nearest"));
}

std::vector<int32_t> SharerLayers(const LayerMap& map) {
  const std::set<int32_t> distinct(map.begin(), map.end());
  return {distinct.begin(), distinct.end()};
}

}  // namespace qc2c
