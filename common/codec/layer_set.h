// Which tensors of a sharer's cache travel: the layers whose keys are sent and those whose values
// are, apart, because a fuser may read only one half of a layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "common/tensor/kv_cache_view.h"

namespace qc2c {

// One tensor of a cache.
struct KvTensorId {
  int32_t layer = 0;
  Half half = Half::kKey;
  bool operator==(const KvTensorId&) const = default;
};

// Each list ascending and distinct; either may be empty, not both.
struct KvLayerSet {
  std::vector<int32_t> keys;
  std::vector<int32_t> values;

  // Keys and values of each of `layers`.
  static KvLayerSet Both(std::vector<int32_t> layers) { return {layers, layers}; }

  const std::vector<int32_t>& Of(Half half) const { return half == Half::kKey ? keys : values; }
  size_t NumTensors() const { return keys.size() + values.size(); }
  // Layers of which anything is sent.
  size_t NumLayers() const;
  // Those layers, ascending.
  std::vector<int32_t> Layers() const;
  // In the order in which they travel: by layer, a layer's keys before its values. REQUIRES: valid.
  std::vector<KvTensorId> Tensors() const;
  // INVALID_ARGUMENT naming key_layers or value_layers, the entry and what was expected.
  absl::Status Validate(const KvLayout& layout) const;

  bool operator==(const KvLayerSet&) const = default;
};

}  // namespace qc2c
