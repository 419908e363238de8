#include "common/fuser/several_sharers.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/fuser/fusion.h"
#include "common/model/torch_status.h"

namespace qc2c {
namespace {

absl::Status OfSource(size_t index, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat("sharer ", index, ": ", status.message()));
}

absl::StatusOr<KvCache> FuseInTurn(std::span<const FusionSource> sources, const KvCache& receiver,
                                   const FuseOptions& options) {
  KvCache fused = receiver;
  for (size_t i = 0; i < sources.size(); ++i) {
    absl::StatusOr<KvCache> next = sources[i].fuser->Fuse(*sources[i].sharer, fused, options);
    if (!next.ok()) return OfSource(i, next.status());
    fused = *std::move(next);
  }
  return fused;
}

absl::StatusOr<KvCache> FuseSum(std::span<const FusionSource> sources, const KvCache& receiver,
                                const FuseOptions& options) {
  CacheDifference sum{std::vector<at::Tensor>(receiver.keys.size()),
                      std::vector<at::Tensor>(receiver.values.size())};
  for (size_t i = 0; i < sources.size(); ++i) {
    const absl::StatusOr<CacheDifference> own =
        sources[i].fuser->Difference(*sources[i].sharer, receiver, options);
    if (!own.ok()) return OfSource(i, own.status());
    for (const Half half : {Half::kKey, Half::kValue}) {
      for (size_t t = 0; t < receiver.keys.size(); ++t) {
        const at::Tensor& term = LayersOf(*own, half)[t];
        at::Tensor& total = LayersOf(sum, half)[t];
        if (term.defined()) total = total.defined() ? total + term : term;
      }
    }
  }
  KvCache fused = receiver;
  for (const Half half : {Half::kKey, Half::kValue}) {
    for (size_t t = 0; t < receiver.keys.size(); ++t) {
      at::Tensor& cache = LayersOf(fused, half)[t];
      const at::Tensor& total = LayersOf(sum, half)[t];
      if (total.defined()) cache = (cache + total).to(cache.scalar_type());
    }
  }
  return fused;
}

}  // namespace

absl::StatusOr<FusionOrder> ParseFusionOrder(std::string_view name) {
  if (name == "sequential") return FusionOrder::kSequential;
  if (name == "parallel") return FusionOrder::kParallel;
  return absl::InvalidArgumentError(
      absl::StrCat("fusion order is \"", std::string(name), "\": expected sequential or parallel"));
}

absl::StatusOr<KvCache> FuseAll(std::span<const FusionSource> sources, const KvCache& receiver,
                                FusionOrder order, const FuseOptions& options) {
  if (sources.empty()) return absl::InvalidArgumentError("no sharer to fuse: expected at least 1");
  return CatchTorch([&] {
    return order == FusionOrder::kSequential ? FuseInTurn(sources, receiver, options)
                                             : FuseSum(sources, receiver, options);
  });
}

}  // namespace qc2c
