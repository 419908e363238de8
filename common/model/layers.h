// The operations whose rounding decides whether bf16 results equal transformers'.
#pragma once

#include <ATen/core/Tensor.h>

#include "common/model/model_config.h"

namespace qc2c {

// x * rsqrt(mean(x^2) + eps) over the last axis in fp32, scaled by `weight` as `scale` says.
at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps,
                   ModelConfig::Traits::NormScale scale);

// The gated feed-forward layer's activation.
at::Tensor Activate(const at::Tensor& x, ModelConfig::Traits::Activation activation);

// x times sqrt(x.size(-1)), itself rounded to x's dtype.
at::Tensor ScaleBySqrtWidth(const at::Tensor& x);

// 0 where a query may attend, -inf elsewhere: what attention makes of a bool mask, made once for
// all layers.
at::Tensor AdditiveMask(const at::Tensor& may_attend, at::ScalarType dtype);

// Rotary position embedding in the half-split layout: element i pairs with i + D/2.
struct Rotary {
  at::Tensor cos;         // [..., T, 1, D] in the activations' dtype, broadcast over heads
  at::Tensor signed_sin;  // the same; negative for the first half of D
};

// 1 / theta^(2i/D) for i < D/2, fp32, scaled as `rope` says.
at::Tensor InverseFrequencies(const RopeConfig& rope, int64_t head_dim, at::Device device);

// positions [..., T] integers. Angles and their cosines are fp32, rounded once to `dtype`.
Rotary MakeRotary(const at::Tensor& positions, const at::Tensor& inverse_frequencies,
                  at::ScalarType dtype);

// x [B, T, heads, D], rotated.
at::Tensor Rotate(const at::Tensor& x, const Rotary& rotary);

}  // namespace qc2c
