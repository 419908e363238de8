// Karhunen-Loeve transforms in a fuser's metric, fitted to calibration caches.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "experiments/calibrate/fuser_metric.h"

namespace qc2c {

// A basis as the codebook has it, on the CPU; components in descending order.
struct FittedBasis {
  at::Tensor analysis;   // [k, dim] fp32
  at::Tensor synthesis;  // [k, dim] fp32
  at::Tensor sigma;      // [k] int16: exponents of 2^(1/4)
  at::Tensor shape;      // [k] int16

  int64_t size() const { return sigma.size(0); }
};

// At most `max_components`, none whose standard deviation is below `least_sigma` (exponent). x [n,
// dim] fp32 has no mean. The components of x in the metric's coordinates that have the largest
// variances; synthesis is the regression of x on each.
FittedBasis FitBasis(const at::Tensor& x, const FuserMetric& metric, int64_t max_components,
                     int least_sigma);

// The same for rows x [n, tokens * (keys + values)], a token's keys before its values, of which
// there are fewer than columns.
FittedBasis FitJointBasis(const at::Tensor& x, int64_t num_tokens, const FuserMetric& keys,
                          const FuserMetric& values, int64_t max_components);

// round(4 log2(sigma)).
int SigmaExponent(double sigma);

// The rows of x in the metric's coordinates, of a row as FitJointBasis takes it.
at::Tensor ApplyToTokens(const at::Tensor& x, int64_t num_tokens, const FuserMetric& keys,
                         const FuserMetric& values);

}  // namespace qc2c
