#include "common/codec/cache_check.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

absl::Status CheckPlane(const KvPlane& plane, int32_t layer, Half half) {
  const std::string where = absl::StrCat("cache layer ", layer, " ", std::string(HalfName(half)));
  if (plane.data == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(where, " is absent: expected its plane"));
  }
  if (plane.token_stride < 0 || plane.head_stride < 0) {
    return absl::InvalidArgumentError(absl::StrCat(where, " has strides ", plane.token_stride,
                                                   " and ", plane.head_stride,
                                                   ": expected at least 0"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckCache(const KvCacheView& cache, std::span<const KvTensorId> tensors) {
  RETURN_IF_ERROR(cache.layout.Validate());
  if (cache.num_tokens < 1 || cache.num_tokens > KvLayout::kMaxTokens) {
    return absl::InvalidArgumentError(absl::StrCat("cache.num_tokens is ", cache.num_tokens,
                                                   ": expected 1 to ", KvLayout::kMaxTokens));
  }
  const auto num_layers = static_cast<size_t>(cache.layout.num_layers);
  if (cache.keys.size() != num_layers || cache.values.size() != num_layers) {
    return absl::InvalidArgumentError(absl::StrCat("cache has ", cache.keys.size(), " key and ",
                                                   cache.values.size(), " value planes: expected ",
                                                   num_layers));
  }
  for (const auto& [layer, half] : tensors) {
    RETURN_IF_ERROR(CheckPlane(cache.Plane(layer, half), layer, half));
  }
  return absl::OkStatus();
}

}  // namespace qc2c
