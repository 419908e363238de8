#include "common/fuser/fusion.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/log.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <utility>

namespace qc2c {
namespace {

// Of the widest activation of one product over several halves: 128 MB in bf16. Above that a product
// keeps a device busy by itself.
constexpr int64_t kMaxValuesAtOnce = int64_t{1} << 26;

// [E, B, H, S, D] -> [E, B * S, H * D]: head h's element d is column h D + d.
at::Tensor MergeHeads(const at::Tensor& x) {
  return x.transpose(2, 3).reshape({x.size(0), x.size(1) * x.size(3), x.size(2) * x.size(4)});
}

at::Tensor Take(const at::Tensor& merged, const at::Tensor& rows) {
  return rows.defined() ? merged.index_select(1, rows) : merged;
}

at::Tensor Stack(const std::vector<at::Tensor>& tensors) {
  return tensors.size() == 1 ? tensors[0].unsqueeze(0) : at::stack(tensors);
}

}  // namespace

Fusion::Fusion(const FuserConfig& config, const Projectors& projectors, Halves halves,
               const ModelOptions& model, const FuseOptions& options, const SharerCache& sharer,
               const KvCache& receiver)
    : config_(config),
      projectors_(projectors),
      halves_(std::move(halves)),
      model_(model),
      options_(options),
      sharer_(sharer),
      receiver_(receiver) {
  rows_ = RowsOf(sharer.selected);
}

Fusion::Rows Fusion::RowsOf(const at::Tensor& selected) const {
  const int64_t num_tokens = selected.size(1);
  const int64_t num_slots = receiver_.num_slots();
  const at::Tensor places = selected.nonzero();  // [N, 2]
  if (places.size(0) == selected.numel() && num_slots == num_tokens) return {};
  const at::Tensor row = places.select(1, 0);
  const at::Tensor slot = places.select(1, 1);
  return {row * num_tokens + slot, row * num_slots + slot};
}

const at::Tensor& Fusion::SelectedOf(const FusedHalf& half) const {
  return sharer_.SelectedOf(config_.layer_map[half.layer], half.half);
}

// On a GPU a product over one half is over before the next one is launched. On a CPU it is not, and
// halves one by one need less memory and no copies.
size_t Fusion::HalvesAtOnce() const {
  using Products = FuseOptions::Products;
  const bool together = options_.products == Products::kTogether ||
                        (options_.products == Products::kByDevice && model_.device.is_cuda());
  // A product over several halves is one over the same tokens of each.
  const bool same_tokens = std::ranges::all_of(
      halves_, [&](const FusedHalf& half) { return SelectedOf(half).is_same(sharer_.selected); });
  if (!together || !same_tokens) return 1;
  const auto width = [](const KvLayout& layout) {
    return int64_t{layout.num_kv_heads} * layout.head_dim;
  };
  const int64_t widest = std::max<int64_t>({config_.hidden_dim, config_.intermediate_dim,
                                            width(config_.sharer) + width(config_.receiver)});
  const int64_t num_tokens =
      rows_.sharer.defined() ? rows_.sharer.size(0) : sharer_.selected.numel();
  return std::max<int64_t>(1, kMaxValuesAtOnce / std::max<int64_t>(1, num_tokens * widest));
}

void Fusion::ForEach(Result result,
                     const std::function<void(const FusedHalf&, const at::Tensor&)>& use) const {
  const size_t at_once = HalvesAtOnce();
  for (size_t begin = 0; begin < halves_.size(); begin += at_once) {
    const size_t end = std::min(halves_.size(), begin + at_once);
    const Halves halves(halves_.begin() + static_cast<std::ptrdiff_t>(begin),
                        halves_.begin() + static_cast<std::ptrdiff_t>(end));
    const std::vector<at::Tensor> fused = Fuse(halves, result).unbind(0);
    for (size_t i = 0; i < halves.size(); ++i) use(halves[i], fused[i]);
  }
}

at::Tensor Fusion::Fuse(const Halves& halves, Result result) const {
  std::vector<at::Tensor> sharer, receiver;
  for (const FusedHalf& half : halves) {
    sharer.push_back(LayersOf(sharer_, half.half)[config_.layer_map[half.layer]]);
    receiver.push_back(LayersOf(receiver_, half.half)[half.layer]);
  }
  const at::Tensor& selected = SelectedOf(halves[0]);
  const Rows taken = selected.is_same(sharer_.selected) ? rows_ : RowsOf(selected);
  const at::Tensor own = Stack(receiver);
  const at::Tensor merged = MergeHeads(own);
  const at::Tensor target = Take(merged, taken.receiver);
  const at::Tensor source = Take(MergeHeads(Stack(sharer).to(model_.dtype)), taken.sharer);
  at::Tensor rows = FuseRows(halves, source, target);
  at::Tensor others = merged;
  if (result == Result::kFused) {
    rows = rows.to(model_.dtype);
  } else {
    rows = rows - target;
    others = at::zeros_like(merged, rows.options());
  }
  if (taken.receiver.defined()) rows = others.index_copy(1, taken.receiver, rows);
  return rows.reshape({own.size(0), own.size(1), own.size(3), own.size(2), own.size(4)})
      .transpose(2, 3);
}

// source [E, N, Hs Ds], target [E, N, Ht Dt] -> [E, N, Ht Dt], not yet rounded to the cache's
// dtype.
at::Tensor Fusion::FuseRows(const Halves& halves, const at::Tensor& source,
                            const at::Tensor& target) const {
  const int64_t heads = config_.receiver.num_kv_heads;
  const auto fuse = [&](const ProjectorHalf& weights, const at::Tensor& gate_logit,
                        const at::Tensor& from, const at::Tensor& to) {
    const Projection projection = Project(weights, from, to, heads, options_.dropout);
    return Add(gate_logit, to.unflatten(-1, {heads, -1}), projection).flatten(-2);
  };
  if (halves.size() == 1) {
    const ProjectorHalf& weights = projectors_.Of(halves[0].layer, halves[0].half);
    return fuse(weights, weights.gate_logit, source[0], target[0]).unsqueeze(0);
  }
  std::vector<int64_t> indices;
  for (const FusedHalf& half : halves) {
    indices.push_back(static_cast<int64_t>(Projectors::Index(half.layer, half.half)));
  }
  const ProjectorHalf weights = projectors_.Together(indices);
  return fuse(weights, weights.gate_logit.view({-1, 1, 1, 1}), source, target);
}

at::Tensor Fusion::Add(const at::Tensor& gate_logit, const at::Tensor& target,
                       const Projection& p) const {
  if (options_.gates == FuseOptions::Gates::kHard) {
    // The gate is 1. The reference's fp32 gate promotes the sum: it is rounded once, in Fuse.
    return target.to(at::kFloat) + p.weight.to(at::kFloat) * p.values;
  }
  const at::Tensor u = at::rand(p.weight.sizes(), options_.generator, p.weight.options());
  const at::Tensor noise = -at::log(-at::log(u + 1e-20) + 1e-20);
  const at::Tensor gate = at::sigmoid((gate_logit + noise) / options_.temperature);
  return target + gate * p.weight * p.values;
}

}  // namespace qc2c
