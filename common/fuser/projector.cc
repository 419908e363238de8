#include "common/fuser/projector.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/baddbmm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/stack.h>

#include "common/model/layers.h"

namespace qc2c {
namespace {

constexpr double kNormEps = 1e-6;
constexpr auto kNormScale = ModelConfig::Traits::NormScale::kWeight;

// Tensors of `num_halves` halves.
class Allocator {
 public:
  Allocator(const at::TensorOptions& options, int64_t num_halves)
      : options_(options), num_halves_(num_halves) {}

  at::Tensor One(std::vector<int64_t> shape) const {
    shape.insert(shape.begin(), num_halves_);
    return at::empty(shape, options_);
  }
  Linear WithBias(int64_t out, int64_t in) const { return {One({out, in}), One({out})}; }
  FeedForwardBlock Block(int64_t width, int64_t inner) const {
    return {One({width}), One({inner, width}), One({width, inner})};
  }

 private:
  at::TensorOptions options_;
  int64_t num_halves_;
};

ProjectorHalf AllocateHalves(const FuserConfig& config, const Allocator& allocator) {
  const int64_t in = int64_t{config.sharer.num_kv_heads} * config.sharer.head_dim;
  const int64_t out = int64_t{config.receiver.num_kv_heads} * config.receiver.head_dim;
  const int64_t width = config.hidden_dim;
  const int64_t inner = config.intermediate_dim;
  ProjectorHalf halves;
  halves.gate_logit = allocator.One({});
  halves.in = allocator.WithBias(width, in + out);
  halves.mlp1 = allocator.Block(width, inner);
  halves.scalar_mlp2 = allocator.Block(width, width);
  halves.scalar_head = allocator.WithBias(config.receiver.num_kv_heads, width);
  for (int32_t j = 0; j + 2 < config.num_blocks; ++j) {
    halves.proj_mlp2.push_back(allocator.Block(width, inner));
  }
  halves.proj_out = allocator.WithBias(out, width);
  return halves;
}

// The same structure with every tensor replaced by what `make` makes of it.
template <typename Make>
ProjectorHalf Mapped(ProjectorHalf half, const Make& make) {
  VisitTensors(half, [&](const std::string&, at::Tensor& tensor) { tensor = make(tensor); });
  return half;
}

std::vector<at::Tensor> TensorsOf(const ProjectorHalf& half) {
  std::vector<at::Tensor> tensors;
  VisitTensors(half, [&](const std::string&, const at::Tensor& x) { tensors.push_back(x); });
  return tensors;
}

at::Tensor Apply(const Linear& linear, const at::Tensor& x) {
  if (x.dim() == 2) return at::linear(x, linear.weight, linear.bias);
  return at::baddbmm(linear.bias.unsqueeze(1), x, linear.weight.transpose(1, 2));
}

at::Tensor Product(const at::Tensor& weight, const at::Tensor& x) {
  return x.dim() == 2 ? at::linear(x, weight) : at::bmm(x, weight.transpose(1, 2));
}

at::Tensor Apply(const FeedForwardBlock& block, const at::Tensor& x, double dropout) {
  const at::Tensor norm = x.dim() == 2 ? block.norm : block.norm.unsqueeze(1);
  const at::Tensor inner = at::gelu(Product(block.w1, RmsNorm(x, norm, kNormEps, kNormScale)));
  const at::Tensor y = Product(block.w2, inner);
  return x + (dropout > 0 ? at::dropout(y, dropout, /*train=*/true) : y);
}

}  // namespace

ProjectorHalf Projectors::Together(const std::vector<int64_t>& indices) const {
  const auto count = static_cast<int64_t>(indices.size());
  const bool with_gradients =
      at::GradMode::is_enabled() && parts[indices[0]].in.weight.requires_grad();
  if (!with_gradients && indices.back() - indices.front() + 1 == count) {
    return Mapped(whole, [&](const at::Tensor& x) { return x.narrow(0, indices[0], count); });
  }
  std::vector<std::vector<at::Tensor>> tensors;
  for (const int64_t index : indices) tensors.push_back(TensorsOf(parts[index]));
  size_t next = 0;
  return Mapped(whole, [&](const at::Tensor&) {
    std::vector<at::Tensor> same;
    for (const auto& half : tensors) same.push_back(half[next]);
    ++next;
    return at::stack(same);
  });
}

Projectors AllocateProjectors(const FuserConfig& config, const at::TensorOptions& options,
                              NamedTensors& named) {
  const int32_t num_layers = config.receiver.num_layers;
  Projectors projectors;
  projectors.whole = AllocateHalves(config, Allocator(options, int64_t{2} * num_layers));
  for (int32_t t = 0; t < num_layers; ++t) {
    for (const Half half : {Half::kKey, Half::kValue}) {
      const auto index = static_cast<int64_t>(Projectors::Index(t, half));
      projectors.parts.push_back(
          Mapped(projectors.whole, [&](const at::Tensor& x) { return x.select(0, index); }));
      const std::string prefix =
          absl::StrCat("projectors.", t, ".", std::string(HalfName(half)), "_");
      VisitTensors(projectors.parts.back(), [&](const std::string& name, const at::Tensor& x) {
        named.emplace_back(prefix + name, x);
      });
    }
  }
  return projectors;
}

Projection Project(const ProjectorHalf& half, const at::Tensor& sharer, const at::Tensor& receiver,
                   int64_t num_heads, double dropout) {
  const at::Tensor h = Apply(half.mlp1, Apply(half.in, at::cat({sharer, receiver}, -1)), dropout);
  at::Tensor p = h;
  for (const FeedForwardBlock& block : half.proj_mlp2) p = Apply(block, p, dropout);
  const at::Tensor s = Apply(half.scalar_head, Apply(half.scalar_mlp2, h, dropout));
  return {at::sigmoid(s).unsqueeze(-1), Apply(half.proj_out, p).unflatten(-1, {num_heads, -1})};
}

}  // namespace qc2c
