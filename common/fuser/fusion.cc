#include "common/fuser/fusion.h"

#include <utility>

namespace qc2c {
namespace {

// [B, H, S, D] -> [B * S, H * D]
at::Tensor MergeHeads(const at::Tensor& x) {
  return x.transpose(1, 2).reshape({x.size(0) * x.size(2), x.size(1) * x.size(3)});
}

// The inverse, for B rows.
at::Tensor SplitHeads(const at::Tensor& x, const at::Tensor& like) {
  return x.view({like.size(0), like.size(2), like.size(1), like.size(3)}).transpose(1, 2);
}

at::Tensor Take(const at::Tensor& merged, const at::Tensor& rows) {
  return rows.defined() ? merged.index_select(0, rows) : merged;
}

}  // namespace

Fusion::Fusion(const FuserConfig& config, const std::vector<Projector>& projectors,
               std::vector<FusedHalf> halves, const ModelOptions& model, const FuseOptions& options,
               const SharerCache& sharer, const KvCache& receiver)
    : config_(config),
      projectors_(projectors),
      halves_(std::move(halves)),
      model_(model),
      options_(options),
      sharer_(sharer),
      receiver_(receiver) {
  const int64_t num_tokens = sharer.selected.size(1);
  const int64_t num_slots = receiver.num_slots();
  const at::Tensor places = sharer.selected.nonzero();  // [N, 2]
  if (places.size(0) == sharer.selected.numel() && num_slots == num_tokens) return;
  const at::Tensor row = places.select(1, 0);
  const at::Tensor slot = places.select(1, 1);
  sharer_rows_ = row * num_tokens + slot;
  receiver_rows_ = row * num_slots + slot;
}

void Fusion::ForEach(const std::function<void(const FusedHalf&, const FusedRows&)>& use) const {
  for (const FusedHalf& half : halves_) use(half, Fuse(half));
}

FusedRows Fusion::Fuse(const FusedHalf& half) const {
  const at::Tensor& sharer = LayersOf(sharer_, half.half)[config_.layer_map[half.layer]];
  const at::Tensor source = Take(MergeHeads(sharer.to(model_.dtype)), sharer_rows_);
  const at::Tensor target =
      Take(MergeHeads(LayersOf(receiver_, half.half)[half.layer]), receiver_rows_);
  const ProjectorHalf& weights = projectors_[half.layer].Of(half.half);
  const int64_t heads = config_.receiver.num_kv_heads;
  const Projection projection = Project(weights, source, target, heads, options_.dropout);
  const at::Tensor fused = Add(weights, target.view({target.size(0), heads, -1}), projection);
  return {target, fused.reshape({target.size(0), -1})};
}

at::Tensor Fusion::Add(const ProjectorHalf& half, const at::Tensor& target,
                       const Projection& p) const {
  if (options_.gates == FuseOptions::Gates::kHard) {
    // The gate is 1. The reference's fp32 gate promotes the sum: it is rounded once, in Replace.
    return target.to(at::kFloat) + p.weight.to(at::kFloat) * p.values;
  }
  const at::Tensor u = at::rand(p.weight.sizes(), options_.generator, p.weight.options());
  const at::Tensor noise = -at::log(-at::log(u + 1e-20) + 1e-20);
  const at::Tensor gate = at::sigmoid((half.gate_logit + noise) / options_.temperature);
  return target + gate * p.weight * p.values;
}

at::Tensor Fusion::Replace(const at::Tensor& cache, const at::Tensor& rows) const {
  const at::Tensor rounded = rows.to(cache.scalar_type());
  if (!receiver_rows_.defined()) return SplitHeads(rounded, cache);
  return SplitHeads(MergeHeads(cache).index_copy(0, receiver_rows_, rounded), cache);
}

}  // namespace qc2c
