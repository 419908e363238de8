#include "common/model/layers.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/reciprocal.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

namespace qc2c {
namespace {

// As the public Llama 3.1 code scales them, in fp32 and in the order of transformers.
at::Tensor ScaleLlama3(const at::Tensor& frequencies, const Llama3RopeScaling& scaling) {
  const double context = scaling.original_positions;
  const at::Tensor wavelength = 2 * std::numbers::pi / frequencies;
  const at::Tensor is_long = wavelength > context / scaling.low_freq_factor;
  const at::Tensor is_short = wavelength < context / scaling.high_freq_factor;
  const at::Tensor weight = (context / wavelength - scaling.low_freq_factor) /
                            (scaling.high_freq_factor - scaling.low_freq_factor);
  const at::Tensor between = (1 - weight) * frequencies / scaling.factor + weight * frequencies;
  return at::where(is_long, frequencies / scaling.factor,
                   at::where(is_short, frequencies, between));
}

}  // namespace

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps,
                   ModelConfig::Traits::NormScale scale) {
  // at::rms_norm computes in fp32 and rounds once, and on CUDA it is a single kernel.
  const at::IntArrayRef axis = x.sizes().slice(x.dim() - 1);
  if (scale == ModelConfig::Traits::NormScale::kWeight) {
    return weight * at::rms_norm(x, axis, /*weight=*/{}, eps);
  }
  const at::Tensor normal = at::rms_norm(x.to(at::kFloat), axis, /*weight=*/{}, eps);
  return (normal * (weight.to(at::kFloat) + 1)).to(x.scalar_type());
}

at::Tensor Activate(const at::Tensor& x, ModelConfig::Traits::Activation activation) {
  if (activation == ModelConfig::Traits::Activation::kSilu) return at::silu(x);
  return at::gelu(x, "tanh");
}

at::Tensor ScaleBySqrtWidth(const at::Tensor& x) {
  const double scale = std::sqrt(static_cast<double>(x.size(-1)));
  const double rounded = x.scalar_type() == at::kBFloat16
                             ? static_cast<float>(c10::BFloat16(static_cast<float>(scale)))
                             : scale;
  return x * rounded;
}

at::Tensor InverseFrequencies(const RopeConfig& rope, int64_t head_dim, at::Device device) {
  const at::Tensor exponents =
      at::arange(0, head_dim, 2, at::TensorOptions().dtype(at::kFloat)) / head_dim;
  const at::Tensor plain = at::reciprocal(at::pow(at::Scalar(rope.theta), exponents));
  return (rope.llama3 ? ScaleLlama3(plain, *rope.llama3) : plain).to(device);
}

Rotary MakeRotary(const at::Tensor& positions, const at::Tensor& inverse_frequencies,
                  at::ScalarType dtype) {
  const at::Tensor angles =
      (positions.to(at::kFloat).unsqueeze(-1) * inverse_frequencies).unsqueeze(-2);
  const at::Tensor cos = angles.cos().to(dtype);
  const at::Tensor sin = angles.sin().to(dtype);
  return {at::cat({cos, cos}, -1), at::cat({-sin, sin}, -1)};
}

at::Tensor Rotate(const at::Tensor& x, const Rotary& rotary) {
  // Rolling by half the size swaps the pairs; the sign of the first half lies in the table.
  return x * rotary.cos + x.roll(x.size(-1) / 2, -1) * rotary.signed_sin;
}

at::Tensor AdditiveMask(const at::Tensor& may_attend, at::ScalarType dtype) {
  constexpr int64_t kAlignment = 16;  // attention kernels copy a mask whose rows begin elsewhere
  std::vector<int64_t> sizes = may_attend.sizes().vec();
  const int64_t columns = sizes.back();
  sizes.back() = (columns + kAlignment - 1) / kAlignment * kAlignment;
  const at::Tensor mask =
      at::zeros(sizes, may_attend.options().dtype(dtype)).narrow(-1, 0, columns);
  return mask.masked_fill_(may_attend.logical_not(), -std::numeric_limits<double>::infinity());
}

}  // namespace qc2c
