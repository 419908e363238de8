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
  return {angles.cos().to(dtype), angles.sin().to(dtype)};
}

at::Tensor Rotate(const at::Tensor& x, const Rotary& rotary) {
  const int64_t half = x.size(-1) / 2;
  const at::Tensor first = x.narrow(-1, 0, half);
  const at::Tensor second = x.narrow(-1, half, half);
  return at::cat(
      {first * rotary.cos - second * rotary.sin, second * rotary.cos + first * rotary.sin}, -1);
}

}  // namespace qc2c
