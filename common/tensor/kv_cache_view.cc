#include "common/tensor/kv_cache_view.h"

#include "absl/strings/str_cat.h"

namespace qc2c {
namespace {

absl::Status CheckRange(std::string_view field, int64_t value, int64_t max) {
  if (value >= 1 && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("layout.", std::string(field), " is ", value, ": expected 1 to ", max));
}

}  // namespace

std::string_view HalfName(Half half) { return half == Half::kKey ? "key" : "value"; }

absl::Status KvLayout::Validate() const {
  absl::Status status = CheckRange("num_layers", num_layers, kMaxLayers);
  status.Update(CheckRange("num_kv_heads", num_kv_heads, kMaxKvHeads));
  status.Update(CheckRange("head_dim", head_dim, kMaxHeadDim));
  return status;
}

std::string KvLayout::ToString() const {
  return absl::StrCat("[L=", num_layers, ", H=", num_kv_heads, ", D=", head_dim, "]");
}

}  // namespace qc2c
