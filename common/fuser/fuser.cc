#include "common/fuser/fuser.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <set>
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
  projectors = AllocateProjectors(config, tensor_options, named);
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

absl::Status CheckSelected(const at::Tensor& selected, int64_t batch, int64_t num_slots) {
  if (selected.defined() && selected.scalar_type() == at::kBool && selected.dim() == 2 &&
      selected.size(0) == batch && selected.size(1) <= num_slots) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("sharer.selected: expected bool [", batch, ", T] with T at most ", num_slots));
}

absl::Status CheckNumLayers(const char* model, const std::vector<at::Tensor>& keys,
                            const std::vector<at::Tensor>& values, int32_t expected) {
  for (const auto* half : {&keys, &values}) {
    if (half->size() == static_cast<size_t>(expected)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(model, " cache has ", half->size(), " layers: expected ", expected));
  }
  return absl::OkStatus();
}

absl::Status CheckCaches(const FuserConfig& config, const ModelOptions& options,
                         const SharerCache& sharer, const KvCache& receiver,
                         const std::vector<FusedHalf>& halves) {
  const int64_t batch = receiver.valid.size(0);
  const int64_t num_slots = receiver.num_slots();
  RETURN_IF_ERROR(CheckSelected(sharer.selected, batch, num_slots));
  RETURN_IF_ERROR(
      CheckNumLayers("receiver", receiver.keys, receiver.values, config.receiver.num_layers));
  RETURN_IF_ERROR(CheckNumLayers("sharer", sharer.keys, sharer.values, config.sharer.num_layers));
  const std::vector<int64_t> target = {batch, config.receiver.num_kv_heads, num_slots,
                                       config.receiver.head_dim};
  const std::vector<int64_t> source = {batch, config.sharer.num_kv_heads, sharer.selected.size(1),
                                       config.sharer.head_dim};
  for (const FusedHalf& fused : halves) {
    const std::string half(HalfName(fused.half));
    const int32_t s = config.layer_map[fused.layer];
    const at::Tensor& own = LayersOf(receiver, fused.half)[fused.layer];
    if (sharer.SelectedOf(s, fused.half).sizes() != sharer.selected.sizes()) {
      return absl::InvalidArgumentError(absl::StrCat("sharer.selected_", half, "s[", s,
                                                     "]: expected the shape of sharer.selected"));
    }
    const std::string where = absl::StrCat("receiver ", half, " of layer ", fused.layer);
    RETURN_IF_ERROR(CheckShape(where, own, target));
    RETURN_IF_ERROR(CheckShape(absl::StrCat("sharer ", half, " of layer ", s),
                               LayersOf(sharer, fused.half)[s], source));
    if (own.scalar_type() != options.dtype) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, " is ", c10::toString(own.scalar_type()), ": the fuser's dtype is ",
                       c10::toString(options.dtype)));
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
at::Tensor OpenGates(const Projectors& projectors) {
  const at::NoGradGuard no_grad;
  return (projectors.whole.gate_logit > 0).view({-1, 2}).cpu();
}

}  // namespace

absl::StatusOr<Fusion> Fuser::Impl::Prepare(const SharerCache& sharer, const KvCache& receiver,
                                            const FuseOptions& fuse) const {
  RETURN_IF_ERROR(CheckOptions(fuse));
  std::vector<FusedHalf> halves;
  const bool is_hard = fuse.gates == FuseOptions::Gates::kHard;
  const at::Tensor open = is_hard ? OpenGates(projectors) : at::Tensor();
  for (int32_t t = 0; t < config.receiver.num_layers; ++t) {
    for (const Half half : {Half::kKey, Half::kValue}) {
      if (!is_hard || open[t][static_cast<int64_t>(half)].item<bool>()) halves.push_back({t, half});
    }
  }
  RETURN_IF_ERROR(CheckCaches(config, options, sharer, receiver, halves));
  return Fusion(config, projectors, std::move(halves), options, fuse, sharer, receiver);
}

absl::StatusOr<KvCache> Fuser::Fuse(const SharerCache& sharer, const KvCache& receiver,
                                    const FuseOptions& options) const {
  return CatchTorch([&]() -> absl::StatusOr<KvCache> {
    ASSIGN_OR_RETURN(const Fusion fusion, impl_->Prepare(sharer, receiver, options));
    KvCache fused = receiver;
    fusion.ForEach(Fusion::Result::kFused, [&](const FusedHalf& half, const at::Tensor& cache) {
      LayersOf(fused, half.half)[half.layer] = cache;
    });
    return fused;
  });
}

absl::StatusOr<CacheDifference> Fuser::Difference(const SharerCache& sharer,
                                                  const KvCache& receiver,
                                                  const FuseOptions& options) const {
  return CatchTorch([&]() -> absl::StatusOr<CacheDifference> {
    ASSIGN_OR_RETURN(const Fusion fusion, impl_->Prepare(sharer, receiver, options));
    const auto num_layers = static_cast<size_t>(impl_->config.receiver.num_layers);
    CacheDifference difference{std::vector<at::Tensor>(num_layers),
                               std::vector<at::Tensor>(num_layers)};
    fusion.ForEach(Fusion::Result::kDifference,
                   [&](const FusedHalf& half, const at::Tensor& added) {
                     LayersOf(difference, half.half)[half.layer] = added;
                   });
    return difference;
  });
}

const std::vector<std::pair<std::string, at::Tensor>>& Fuser::parameters() const {
  return impl_->named;
}

const FuserConfig& Fuser::config() const { return impl_->config; }

bool Fuser::GateIsOpen(int32_t receiver_layer, Half half) const {
  return impl_->projectors.Of(receiver_layer, half).gate_logit.item<float>() > 0;
}

std::vector<int32_t> Fuser::SharerLayersRead(Half half) const {
  const at::Tensor open = OpenGates(impl_->projectors).select(1, static_cast<int64_t>(half));
  std::set<int32_t> layers;
  for (int32_t t = 0; t < impl_->config.receiver.num_layers; ++t) {
    if (open[t].item<bool>()) layers.insert(impl_->config.layer_map[t]);
  }
  return {layers.begin(), layers.end()};
}

uint64_t Fuser::fingerprint() const { return impl_->fingerprint; }

}  // namespace qc2c
