// One fusion of a sharer's cache into a receiver's: the projectors over the tokens that were sent.
#pragma once

#include <ATen/core/Tensor.h>

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

class Fusion {
 public:
  // REQUIRES: all tensors of `halves` (ascending by layer, keys first) present, of the fuser's
  // shapes and dtype. Borrows all but the halves.
  Fusion(const FuserConfig& config, const Projectors& projectors, std::vector<FusedHalf> halves,
         const ModelOptions& model, const FuseOptions& options, const SharerCache& sharer,
         const KvCache& receiver);

  // What ForEach hands out, [B, Ht, S, Dt].
  enum class Result {
    kFused,       // the cache with the sent tokens fused, rounded to the cache's dtype
    kDifference,  // fused - own before that rounding, 0 for other tokens; fp32 for hard gates
  };
  // Calls `use` for each half in order. Throws what torch throws.
  void ForEach(Result result,
               const std::function<void(const FusedHalf&, const at::Tensor&)>& use) const;

 private:
  using Halves = std::vector<FusedHalf>;
  // Which tokens are fused, as rows of the merged caches. Undefined: all of them, in order.
  struct Rows {
    at::Tensor sharer;
    at::Tensor receiver;
  };

  Rows RowsOf(const at::Tensor& selected) const;
  const at::Tensor& SelectedOf(const FusedHalf& half) const;
  size_t HalvesAtOnce() const;
  // [E, B, Ht, S, Dt] for E halves.
  at::Tensor Fuse(const Halves& halves, Result result) const;
  at::Tensor FuseRows(const Halves& halves, const at::Tensor& source,
                      const at::Tensor& target) const;
  at::Tensor Add(const at::Tensor& gate_logit, const at::Tensor& target, const Projection& p) const;

  const FuserConfig& config_;
  const Projectors& projectors_;
  Halves halves_;
  const ModelOptions& model_;
  const FuseOptions& options_;
  const SharerCache& sharer_;
  const KvCache& receiver_;
  Rows rows_;  // of the tensors without a selection of their own
};

}  // namespace qc2c
