#include "common/fuser/projector.h"

#include "absl/strings/str_cat.h"
#include "common/model/layers.h"

namespace qc2c {
namespace {

constexpr double kNormEps = 1e-6;
constexpr auto kNormScale = ModelConfig::Traits::NormScale::kWeight;

class Allocator {
 public:
  Allocator(const at::TensorOptions& options, std::string prefix, NamedTensors& named)
      : options_(options), prefix_(std::move(prefix)), named_(named) {}

  at::Tensor One(const std::string& name, const std::vector<int64_t>& shape) {
    return named_.emplace_back(absl::StrCat(prefix_, name), at::empty(shape, options_)).second;
  }
  Linear WithBias(const std::string& name, int64_t out, int64_t in) {
    return {One(absl::StrCat(name, ".weight"), {out, in}), One(absl::StrCat(name, ".bias"), {out})};
  }
  FeedForwardBlock Block(const std::string& name, int64_t width, int64_t inner) {
    return {One(absl::StrCat(name, ".norm.weight"), {width}),
            One(absl::StrCat(name, ".w1.weight"), {inner, width}),
            One(absl::StrCat(name, ".w2.weight"), {width, inner})};
  }

 private:
  at::TensorOptions options_;
  std::string prefix_;
  NamedTensors& named_;
};

ProjectorHalf AllocateHalf(const FuserConfig& config, Half half, Allocator& allocator) {
  const int64_t in = int64_t{config.sharer.num_kv_heads} * config.sharer.head_dim;
  const int64_t out = int64_t{config.receiver.num_kv_heads} * config.receiver.head_dim;
  const int64_t width = config.hidden_dim;
  const auto name = [half](const std::string& suffix) {
    return absl::StrCat(std::string(HalfName(half)), "_", suffix);
  };
  ProjectorHalf weights;
  weights.gate_logit = allocator.One(name("gate_logit"), {});
  weights.in = allocator.WithBias(name("in"), width, in + out);
  weights.mlp1 = allocator.Block(name("mlp1.blocks.0"), width, config.intermediate_dim);
  weights.scalar_mlp2 = allocator.Block(name("scalar_mlp2.blocks.0"), width, width);
  weights.scalar_head =
      allocator.WithBias(name("scalar_head"), config.receiver.num_kv_heads, width);
  for (int32_t j = 0; j + 2 < config.num_blocks; ++j) {
    weights.proj_mlp2.push_back(allocator.Block(name(absl::StrCat("proj_mlp2.blocks.", j)), width,
                                                config.intermediate_dim));
  }
  weights.proj_out = allocator.WithBias(name("proj_out"), out, width);
  return weights;
}

at::Tensor Apply(const Linear& linear, const at::Tensor& x) {
  return at::linear(x, linear.weight, linear.bias);
}

at::Tensor Apply(const FeedForwardBlock& block, const at::Tensor& x, double dropout) {
  const at::Tensor inner =
      at::gelu(at::linear(RmsNorm(x, block.norm, kNormEps, kNormScale), block.w1));
  const at::Tensor y = at::linear(inner, block.w2);
  return x + (dropout > 0 ? at::dropout(y, dropout, /*train=*/true) : y);
}

}  // namespace

Projector AllocateProjector(const FuserConfig& config, const at::TensorOptions& options,
                            const std::string& prefix, NamedTensors& named) {
  Allocator allocator(options, prefix, named);
  Projector projector;
  projector.key = AllocateHalf(config, Half::kKey, allocator);
  projector.value = AllocateHalf(config, Half::kValue, allocator);
  return projector;
}

Projection Project(const ProjectorHalf& half, const at::Tensor& sharer, const at::Tensor& receiver,
                   int64_t num_heads, double dropout) {
  const at::Tensor h = Apply(half.mlp1, Apply(half.in, at::cat({sharer, receiver}, 1)), dropout);
  at::Tensor p = h;
  for (const FeedForwardBlock& block : half.proj_mlp2) p = Apply(block, p, dropout);
  const at::Tensor s = Apply(half.scalar_head, Apply(half.scalar_mlp2, h, dropout));
  return {at::sigmoid(s).unsqueeze(2), Apply(half.proj_out, p).view({h.size(0), num_heads, -1})};
}

}  // namespace qc2c
