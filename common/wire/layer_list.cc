#include "common/wire/layer_list.h"

#include "absl/strings/str_cat.h"

namespace qc2c {

absl::Status CheckLayers(const KvLayout& layout, const std::vector<int32_t>& layers) {
  if (layers.empty()) return absl::InvalidArgumentError("layers are empty: expected at least one");
  int32_t least = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i] < least || layers[i] >= layout.num_layers) {
      return absl::InvalidArgumentError(absl::StrCat("layers[", i, "] is ", layers[i],
                                                     ": expected ", least, " to ",
                                                     layout.num_layers - 1, ", ascending"));
    }
    least = layers[i] + 1;
  }
  return absl::OkStatus();
}

}  // namespace qc2c
