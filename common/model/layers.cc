#include "common/model/layers.h"

namespace qc2c {

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor variance = wide.square().mean(-1, /*keepdim=*/true);
  return weight * (wide * at::rsqrt(variance + eps)).to(x.scalar_type());
}

at::Tensor InverseFrequencies(double theta, int64_t head_dim, at::Device device) {
  const at::Tensor exponents =
      at::arange(0, head_dim, 2, at::TensorOptions().dtype(at::kFloat)) / head_dim;
  return at::reciprocal(at::pow(at::Scalar(theta), exponents)).to(device);
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

}  // namespace qc2c
