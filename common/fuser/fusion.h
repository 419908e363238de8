// One fusion of a sharer's cache into a receiver's: the projectors over the tokens that were sent.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "common/fuser/fuser.h"
#include "common/fuser/projector.h"

namespace qc2c {

// Half of a receiver layer that is fused.
struct FusedHalf {
  int32_t layer = 0;
  Half half = Half::kKey;
};

// Keys or values of anything that has both.
template <typename Cache>
auto& LayersOf(Cache& cache, Half half) {
  return half == Half::kKey ? cache.keys : cache.values;
}

// The N tokens that were sent, heads merged: rows are tokens, head h's element d is column h D + d.
struct FusedRows {
  at::Tensor target;  // [N, Ht Dt], the receiver's own
  at::Tensor fused;   // [N, Ht Dt]: fp32 for hard gates, not yet rounded to the cache's dtype
};

class Fusion {
 public:
  // REQUIRES: all tensors of `halves` present, of the fuser's shapes and dtype. Borrows all but the
  // halves.
  Fusion(const FuserConfig& config, const std::vector<Projector>& projectors,
         std::vector<FusedHalf> halves, const ModelOptions& model, const FuseOptions& options,
         const SharerCache& sharer, const KvCache& receiver);

  // Calls `use` for each half in order. Throws what torch throws.
  void ForEach(const std::function<void(const FusedHalf&, const FusedRows&)>& use) const;

  // `cache` [B, Ht, S, Dt] with the sent tokens' rows replaced, rounded to the cache's dtype.
  at::Tensor Replace(const at::Tensor& cache, const at::Tensor& rows) const;

 private:
  FusedRows Fuse(const FusedHalf& half) const;
  at::Tensor Add(const ProjectorHalf& half, const at::Tensor& target, const Projection& p) const;

  const FuserConfig& config_;
  const std::vector<Projector>& projectors_;
  std::vector<FusedHalf> halves_;
  const ModelOptions& model_;
  const FuseOptions& options_;
  const SharerCache& sharer_;
  const KvCache& receiver_;
  // Which tokens are fused, as rows of the merged caches. Undefined: all of them, in order.
  at::Tensor sharer_rows_;
  at::Tensor receiver_rows_;
};

}  // namespace qc2c
