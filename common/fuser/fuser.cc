#include "common/fuser/fuser.h"

#include <ATen/core/grad_mode.h>

#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/fuser/fuser_impl.h"
#include "common/model/torch_status.h"

namespace qc2c {
namespace {

// Far above the reference's 1024, and small enough that no size overflows.
constexpr int32_t kMaxWidth = 1 << 16;
constexpr int32_t kMaxBlocks = 64;

absl::Status InRange(const char* field, int32_t value, int32_t min, int32_t max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("fuser config: ", field, " is ", value, ": expected ", min, " to ", max));
}

absl::Status CheckShape(const std::string& what, const at::Tensor& tensor, at::IntArrayRef shape) {
  if (!tensor.defined()) return absl::InvalidArgumentError(absl::StrCat(what, " is absent"));
  if (tensor.sizes() == shape) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, " has shape [",
                                                 absl::StrJoin(tensor.sizes(), ", "),
                                                 "]: expected [", absl::StrJoin(shape, ", "), "]"));
}

// [B, H, S, D] -> [B * S, H * D]; head h's element d is column h * D + d.
at::Tensor MergeHeads(const at::Tensor& x) {
  return x.transpose(1, 2).reshape({x.size(0) * x.size(2), x.size(1) * x.size(3)});
}

// The inverse, for B rows.
at::Tensor SplitHeads(const at::Tensor& x, const at::Tensor& like) {
  return x.view({like.size(0), like.size(2), like.size(1), like.size(3)}).transpose(1, 2);
}

// Which tokens are fused, as rows of the merged caches. Undefined index: all of them, in order.
struct Rows {
  at::Tensor sharer;
  at::Tensor receiver;
};

at::Tensor Take(const at::Tensor& merged, const at::Tensor& rows) {
  return rows.defined() ? merged.index_select(0, rows) : merged;
}

Rows SelectedRows(const at::Tensor& selected, int64_t num_slots) {
  const int64_t num_tokens = selected.size(1);
  const at::Tensor places = selected.nonzero();  // [N, 2]
  if (places.size(0) == selected.numel() && num_slots == num_tokens) return {};
  const at::Tensor row = places.select(1, 0);
  const at::Tensor slot = places.select(1, 1);
  return {row * num_tokens + slot, row * num_slots + slot};
}

}  // namespace

absl::Status CheckFuser(const FuserConfig& config, const ModelOptions& options) {
  if (options.dtype != at::kFloat && options.dtype != at::kBFloat16) {
    return absl::InvalidArgumentError(absl::StrCat("fuser dtype is ", c10::toString(options.dtype),
                                                   ": expected Float or BFloat16"));
  }
  RETURN_IF_ERROR(config.receiver.Validate());
  RETURN_IF_ERROR(config.sharer.Validate());
  RETURN_IF_ERROR(InRange("hidden_dim", config.hidden_dim, 1, kMaxWidth));
  RETURN_IF_ERROR(InRange("intermediate_dim", config.intermediate_dim, 1, kMaxWidth));
  RETURN_IF_ERROR(InRange("num_blocks", config.num_blocks, 3, kMaxBlocks));
  if (config.layer_map.size() != static_cast<size_t>(config.receiver.num_layers)) {
    return absl::InvalidArgumentError(
        absl::StrCat("fuser config: layer_map has ", config.layer_map.size(), " entries: expected ",
                     config.receiver.num_layers, ", the receiver's layers"));
  }
  for (const int32_t layer : config.layer_map) {
    RETURN_IF_ERROR(InRange("layer_map entry", layer, 0, config.sharer.num_layers - 1));
  }
  return absl::OkStatus();
}

Fuser::Impl::Impl(const FuserConfig& fuser_config, const ModelOptions& model_options)
    : config(fuser_config), options(model_options) {
  const auto tensor_options = at::TensorOptions().dtype(options.dtype).device(options.device);
  for (int32_t t = 0; t < config.receiver.num_layers; ++t) {
    projectors.push_back(
        AllocateProjector(config, tensor_options, absl::StrCat("projectors.", t, "."), named));
  }
}

Fuser::Fuser(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Fuser::Fuser(Fuser&&) noexcept = default;
Fuser& Fuser::operator=(Fuser&&) noexcept = default;
Fuser::~Fuser() = default;

absl::StatusOr<Fuser> Fuser::Create(const FuserConfig& config, const ModelOptions& options) {
  return CatchTorch([&]() -> absl::StatusOr<Fuser> {
    const at::NoGradGuard no_grad;
    RETURN_IF_ERROR(CheckFuser(config, options));
    auto impl = std::make_unique<Impl>(config, options);
    double bound = 0;  // of the Linear whose weight came last: its bias follows
    for (auto& [name, tensor] : impl->named) {
      if (absl::EndsWith(name, "gate_logit")) {
        tensor.zero_();
      } else if (absl::EndsWith(name, "norm.weight")) {
        tensor.fill_(1);
      } else {
        if (tensor.dim() == 2) bound = 1 / std::sqrt(static_cast<double>(tensor.size(1)));
        tensor.uniform_(-bound, bound);
      }
    }
    return Fuser(std::move(impl));
  });
}

namespace {

// One Fuse call: its inputs, and what is the same for all layers.
class Fusion {
 public:
  Fusion(const FuserConfig& config, const ModelOptions& model, const FuseOptions& options,
         const SharerCache& sharer, int64_t num_slots)
      : config_(config),
        model_(model),
        options_(options),
        sharer_(sharer),
        rows_(SelectedRows(sharer.selected, num_slots)) {}

  // One half of receiver layer t, `cache` [B, Ht, S, Dt].
  at::Tensor Fuse(const ProjectorHalf& half, const at::Tensor& sharer, const at::Tensor& cache) {
    const at::Tensor merged = MergeHeads(cache);
    const at::Tensor target = Take(merged, rows_.receiver);
    const at::Tensor source = Take(MergeHeads(sharer.to(model_.dtype)), rows_.sharer);
    const int64_t heads = config_.receiver.num_kv_heads;
    const Projection projection = Project(half, source, target, heads, options_.dropout);
    const at::Tensor fused = Add(half, target.view({target.size(0), heads, -1}), projection)
                                 .reshape({target.size(0), -1});
    return SplitHeads(
        rows_.receiver.defined() ? merged.index_copy(0, rows_.receiver, fused) : fused, cache);
  }

 private:
  at::Tensor Add(const ProjectorHalf& half, const at::Tensor& target, const Projection& p) const {
    if (options_.gates == FuseOptions::Gates::kHard) {
      // The gate is 1. The reference's fp32 gate promotes the sum: it is rounded once.
      const at::Tensor sum = target.to(at::kFloat) + p.weight.to(at::kFloat) * p.values;
      return sum.to(target.scalar_type());
    }
    const at::Tensor u = at::rand(p.weight.sizes(), options_.generator, p.weight.options());
    const at::Tensor noise = -at::log(-at::log(u + 1e-20) + 1e-20);
    const at::Tensor gate = at::sigmoid((half.gate_logit + noise) / options_.temperature);
    return target + gate * p.weight * p.values;
  }

  const FuserConfig& config_;
  const ModelOptions& model_;
  const FuseOptions& options_;
  const SharerCache& sharer_;
  Rows rows_;
};

absl::Status CheckCaches(const FuserConfig& config, const ModelOptions& options,
                         const SharerCache& sharer, const KvCache& receiver) {
  const int64_t batch = receiver.valid.size(0);
  const int64_t num_slots = receiver.num_slots();
  const at::Tensor& selected = sharer.selected;
  if (!selected.defined() || selected.scalar_type() != at::kBool || selected.dim() != 2 ||
      selected.size(0) != batch || selected.size(1) > num_slots) {
    return absl::InvalidArgumentError(
        absl::StrCat("sharer.selected: expected bool [", batch, ", T] with T at most ", num_slots));
  }
  const std::vector<int64_t> target = {batch, config.receiver.num_kv_heads, num_slots,
                                       config.receiver.head_dim};
  const std::vector<int64_t> source = {batch, config.sharer.num_kv_heads, selected.size(1),
                                       config.sharer.head_dim};
  for (const auto* half : {&receiver.keys, &receiver.values}) {
    if (half->size() == static_cast<size_t>(config.receiver.num_layers)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "receiver cache has ", half->size(), " layers: expected ", config.receiver.num_layers));
  }
  for (const auto* half : {&sharer.keys, &sharer.values}) {
    if (half->size() == static_cast<size_t>(config.sharer.num_layers)) continue;
    return absl::InvalidArgumentError(absl::StrCat("sharer cache has ", half->size(),
                                                   " layers: expected ", config.sharer.num_layers));
  }
  for (int32_t t = 0; t < config.receiver.num_layers; ++t) {
    const int32_t s = config.layer_map[t];
    RETURN_IF_ERROR(
        CheckShape(absl::StrCat("receiver key of layer ", t), receiver.keys[t], target));
    RETURN_IF_ERROR(
        CheckShape(absl::StrCat("receiver value of layer ", t), receiver.values[t], target));
    RETURN_IF_ERROR(CheckShape(absl::StrCat("sharer key of layer ", s), sharer.keys[s], source));
    RETURN_IF_ERROR(
        CheckShape(absl::StrCat("sharer value of layer ", s), sharer.values[s], source));
    if (receiver.keys[t].scalar_type() != options.dtype) {
      return absl::InvalidArgumentError(absl::StrCat(
          "receiver key of layer ", t, " is ", c10::toString(receiver.keys[t].scalar_type()),
          ": the fuser's dtype is ", c10::toString(options.dtype)));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const FuseOptions& options) {
  if (options.gates == FuseOptions::Gates::kHard) {
    if (options.dropout == 0) return absl::OkStatus();
    return absl::InvalidArgumentError("dropout with hard gates: expected 0");
  }
  if (!(options.temperature > 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("temperature is ", options.temperature, ": expected above 0"));
  }
  if (!(options.dropout >= 0 && options.dropout < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("dropout is ", options.dropout, ": expected 0 or more and below 1"));
  }
  return absl::OkStatus();
}

// [L, 2] on the CPU in one transfer: key and value gate of each layer.
at::Tensor OpenGates(const std::vector<Projector>& projectors) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> logits;
  for (const Projector& projector : projectors) {
    logits.push_back(projector.key.gate_logit);
    logits.push_back(projector.value.gate_logit);
  }
  return (at::stack(logits) > 0).view({-1, 2}).cpu();
}

}  // namespace

absl::StatusOr<KvCache> Fuser::Fuse(const SharerCache& sharer, const KvCache& receiver,
                                    const FuseOptions& options) const {
  return CatchTorch([&]() -> absl::StatusOr<KvCache> {
    RETURN_IF_ERROR(CheckOptions(options));
    RETURN_IF_ERROR(CheckCaches(impl_->config, impl_->options, sharer, receiver));
    const bool is_hard = options.gates == FuseOptions::Gates::kHard;
    const at::Tensor open = is_hard ? OpenGates(impl_->projectors) : at::Tensor();
    KvCache fused = receiver;
    Fusion fusion(impl_->config, impl_->options, options, sharer, receiver.num_slots());
    for (int32_t t = 0; t < impl_->config.receiver.num_layers; ++t) {
      const int32_t s = impl_->config.layer_map[t];
      const Projector& projector = impl_->projectors[t];
      if (!is_hard || open[t][0].item<bool>()) {
        fused.keys[t] = fusion.Fuse(projector.key, sharer.keys[s], receiver.keys[t]);
      }
      if (!is_hard || open[t][1].item<bool>()) {
        fused.values[t] = fusion.Fuse(projector.value, sharer.values[s], receiver.values[t]);
      }
    }
    return fused;
  });
}

const std::vector<std::pair<std::string, at::Tensor>>& Fuser::parameters() const {
  return impl_->named;
}

const FuserConfig& Fuser::config() const { return impl_->config; }

bool Fuser::GateIsOpen(int32_t receiver_layer, Half half) const {
  return impl_->projectors[receiver_layer].Of(half).gate_logit.item<float>() > 0;
}

uint64_t Fuser::fingerprint() const { return impl_->fingerprint; }

}  // namespace qc2c
