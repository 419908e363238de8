#include "common/codec/layer_set.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

absl::Status ValidateLayers(const char* field, const std::vector<int32_t>& layers,
                            const KvLayout& layout) {
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::string found = absl::StrCat(field, "[", i, "] is ", layers[i]);
    if (layers[i] < 0 || layers[i] >= layout.num_layers) {
      return absl::InvalidArgumentError(
          absl::StrCat(found, ": expected 0 to ", layout.num_layers - 1));
    }
    if (i > 0 && layers[i] <= layers[i - 1]) {
      return absl::InvalidArgumentError(
          absl::StrCat(found, " after ", layers[i - 1], ": expected ascending layers"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<KvTensorId> KvLayerSet::Tensors() const {
  std::vector<KvTensorId> tensors;
  tensors.reserve(NumTensors());
  size_t key = 0;
  size_t value = 0;
  while (key < keys.size() || value < values.size()) {
    const bool takes_key =
        value == values.size() || (key < keys.size() && keys[key] <= values[value]);
    tensors.push_back(takes_key ? KvTensorId{keys[key++], Half::kKey}
                                : KvTensorId{values[value++], Half::kValue});
  }
  return tensors;
}

std::vector<int32_t> KvLayerSet::Layers() const {
  std::vector<int32_t> layers;
  std::ranges::set_union(keys, values, std::back_inserter(layers));
  return layers;
}

size_t KvLayerSet::NumLayers() const { return Layers().size(); }

absl::Status KvLayerSet::Validate(const KvLayout& layout) const {
  if (NumTensors() == 0) {
    return absl::InvalidArgumentError(
        "key_layers and value_layers are empty: expected at least one layer");
  }
  RETURN_IF_ERROR(ValidateLayers("key_layers", keys, layout));
  return ValidateLayers("value_layers", values, layout);
}

}  // namespace qc2c
