#include "experiments/means/channel_sums.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <numeric>

#include "common/base/status_macros.h"
#include "common/model/key_rotation.h"

namespace qc2c {
namespace {

std::vector<float> ToVector(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kCPU, at::kFloat).contiguous();
  const float* const data = flat.const_data_ptr<float>();
  return {data, data + flat.numel()};
}

// What the elements of un-rotated keys are made of: their own value times `cosines`, that of their
// pair times `signed_sines`. Both [P, D].
struct Unrotation {
  at::Tensor cosines;
  at::Tensor signed_sines;
};

Unrotation UnrotationOf(const std::vector<float>& frequencies, int64_t num_positions,
                        at::Device device) {
  std::vector<uint32_t> positions(num_positions);
  std::iota(positions.begin(), positions.end(), 0);
  const RotaryTable table(frequencies, positions);
  const auto halves = [&](std::span<const float> numbers, double sign) {
    const at::Tensor half =
        at::tensor(at::ArrayRef<float>(numbers.data(), numbers.size())).view({num_positions, -1});
    return at::cat({half, half * sign}, 1).to(device);
  };
  return {halves(table.all_cosines(), 1), halves(table.all_sines(), -1)};
}

}  // namespace

ChannelSums::ChannelSums(const Model& model)
    : model_(model), rotation_(KeyRotationOf(model.config())) {
  const KvLayout layout = model.config().Layout();
  for (at::Tensor& sums : sums_) {
    sums = at::zeros({layout.num_layers, layout.num_kv_heads, layout.head_dim},
                     at::TensorOptions(model.options().device).dtype(at::kDouble));
  }
}

absl::Status ChannelSums::Add(const std::vector<std::vector<int32_t>>& prompts) {
  const at::NoGradGuard no_grad;
  const at::Device device = model_.options().device;
  ASSIGN_OR_RETURN(const ForwardResult result,
                   model_.Forward(TokenBatch::FromSequences(prompts, device), nullptr));
  const KvCache& cache = result.cache;
  const int64_t width = cache.num_slots();
  std::vector<Unrotation> unrotations;
  for (const std::vector<float>& frequencies : rotation_.frequencies) {
    unrotations.push_back(UnrotationOf(frequencies, width, device));
  }
  const at::Tensor valid = cache.valid.view({-1, 1, width, 1});
  const auto sum = [&](const at::Tensor& values) {  // [B, H, S, D]
    return at::where(valid, values.to(at::kDouble), 0.0).sum(at::IntArrayRef{0, 2});
  };
  for (size_t layer = 0; layer < cache.keys.size(); ++layer) {
    const Unrotation& unrotation = unrotations[rotation_.of_layer[layer]];
    const at::Tensor keys = cache.keys[layer].to(at::kFloat);
    const at::Tensor pairs = keys.roll(keys.size(-1) / 2, -1);
    const auto index = static_cast<int64_t>(layer);
    sums_[0][index] += sum(keys * unrotation.cosines + pairs * unrotation.signed_sines);
    sums_[1][index] += sum(cache.values[layer]);
  }
  num_tokens_ += cache.valid.sum().item<int64_t>();
  return absl::OkStatus();
}

ChannelMeans ChannelSums::Means() const {
  return {.id = 0,
          .layout = model_.config().Layout(),
          .keys = ToVector(sums_[0] / num_tokens_),
          .values = ToVector(sums_[1] / num_tokens_)};
}

}  // namespace qc2c
