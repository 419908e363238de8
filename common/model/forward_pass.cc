#include "common/model/forward_pass.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace qc2c {
namespace {

// may_attend [B, T, S + T] -> the mask for queries [B, H, Hq / H * T, D].
at::Tensor GroupedMask(const ModelConfig& config, const at::Tensor& may_attend,
                       at::ScalarType dtype) {
  const at::Tensor mask = AdditiveMask(may_attend, dtype).unsqueeze(1);
  const int64_t group = config.num_heads / config.num_kv_heads;
  // One row is the same for all queries of the group, and broadcasts.
  return may_attend.size(1) == 1 || group == 1 ? mask : mask.repeat({1, 1, group, 1});
}

// Whether query t may see token s as not later: [T, T] bool.
at::Tensor IsCausal(const at::Tensor& order) { return order.unsqueeze(0) <= order.unsqueeze(1); }

// positions [T] -> [T, T]; [B, T] -> [B, 1, T, T]. Undefined: no token is outside of a window.
at::Tensor WindowMaskWithoutPast(const at::Tensor& positions, const at::Tensor& order,
                                 int32_t window, at::ScalarType dtype) {
  const bool has_gaps = positions.dim() == 2;
  if (!has_gaps && positions.size(0) <= window) return {};
  const at::Tensor near = (positions.unsqueeze(-1) - positions.unsqueeze(-2)).lt(window);
  const at::Tensor mask = AdditiveMask(IsCausal(order).logical_and(near), dtype);
  return has_gaps ? mask.unsqueeze(1) : mask;
}

// What may be attended behind a past: its valid slots, and of the new tokens those not later.
// [B, T, S + T] bool.
at::Tensor MayAttend(const KvCache& past, const at::Tensor& order) {
  const int64_t batch = past.valid.size(0);
  const int64_t num_new = order.size(0);
  return at::cat({past.valid.unsqueeze(1).expand({batch, num_new, past.num_slots()}),
                  IsCausal(order).unsqueeze(0).expand({batch, num_new, num_new})},
                 2);
}

at::Tensor IsInWindow(const KvCache& past, const at::Tensor& positions, int32_t window) {
  const at::Tensor keys = at::cat({past.positions, positions}, 1);
  return (positions.unsqueeze(2) - keys.unsqueeze(1)).lt(window);
}

}  // namespace

RopeFrequencies RopeFrequencies::Of(const ModelConfig& config, at::Device device) {
  RopeFrequencies frequencies = {InverseFrequencies(config.rope, config.head_dim, device), {}};
  const auto& kinds = config.attention;
  if (std::find(kinds.begin(), kinds.end(), ModelConfig::Attention::kWindow) != kinds.end()) {
    frequencies.window = InverseFrequencies(config.window_rope, config.head_dim, device);
  }
  return frequencies;
}

absl::Status CheckPositions(const TokenBatch& tokens, const ModelConfig& config) {
  const at::Tensor& positions = tokens.positions;
  if (!positions.defined()) return absl::OkStatus();
  if (positions.sizes() != tokens.ids.sizes()) {
    return absl::InvalidArgumentError("tokens: expected positions [B, T]");
  }
  if (!positions.is_cpu()) return absl::OkStatus();
  const auto least = positions.min().item<int64_t>();
  const auto most = positions.max().item<int64_t>();
  if (least >= 0 && most < config.max_positions) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("tokens: positions are ", least, " to ", most,
                                                 ": the model has ", config.max_positions));
}

at::Tensor NextPositions(const TokenBatch& tokens, const KvCache* past) {
  const at::Tensor& lengths = tokens.lengths;
  if (!tokens.positions.defined()) return past == nullptr ? lengths : past->lengths + lengths;
  const at::Tensor last = (lengths - 1).clamp_min(0).unsqueeze(1);
  const at::Tensor next = tokens.positions.gather(1, last).squeeze(1) + 1;
  return at::where(lengths > 0, next, past == nullptr ? at::zeros_like(next) : past->lengths);
}

ForwardPass MakeForwardPass(const ModelConfig& config, const RopeFrequencies& frequencies,
                            const TokenBatch& tokens, const KvCache* past, at::ScalarType dtype) {
  const at::Tensor order = at::arange(tokens.ids.size(1), tokens.ids.options());
  ForwardPass pass;
  pass.positions = tokens.positions;
  if (!pass.positions.defined()) {
    pass.positions = past == nullptr ? order : past->lengths.unsqueeze(1) + order;
  }
  pass.full.rotary = MakeRotary(pass.positions, frequencies.full, dtype);
  const bool has_windows = frequencies.window.defined();
  if (has_windows) pass.window.rotary = MakeRotary(pass.positions, frequencies.window, dtype);
  if (past == nullptr) {
    // Padding lies on the right, so causality alone keeps it away from every real token.
    if (has_windows) {
      pass.window.mask = WindowMaskWithoutPast(pass.positions, order, config.window, dtype);
    }
    return pass;
  }
  const at::Tensor may_attend = MayAttend(*past, order);
  pass.full.mask = GroupedMask(config, may_attend, dtype);
  if (has_windows) {
    pass.window.mask = GroupedMask(
        config, may_attend.logical_and(IsInWindow(*past, pass.positions, config.window)), dtype);
  }
  return pass;
}

}  // namespace qc2c
