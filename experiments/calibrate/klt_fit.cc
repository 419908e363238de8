#include "experiments/calibrate/klt_fit.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "common/codec/klt_codebook.h"

namespace qc2c {
namespace {

constexpr int64_t kRowsAtOnce = 8192;  // of an fp32 product that is added up in fp64

// The mean of |c| over the standard deviation is .80 of a normal and .71 of a Laplace density.
constexpr double kBetweenShapes = 0.755;

int64_t WidthOf(const FuserMetric& metric) {
  int64_t width = 0;
  for (const at::Tensor& factor : metric.factors) width += factor.size(1);
  return width;
}

at::Tensor SecondMoments(const at::Tensor& x) {
  at::Tensor sum = at::zeros({x.size(1), x.size(1)}, x.options().dtype(at::kDouble));
  for (int64_t begin = 0; begin < x.size(0); begin += kRowsAtOnce) {
    const at::Tensor rows = x.slice(0, begin, begin + kRowsAtOnce);
    sum += rows.t().matmul(rows).to(at::kDouble);
  }
  return sum / x.size(0);
}

// Sigma and shape of the coefficients c [n, k], and everything on the CPU.
FittedBasis Finish(const at::Tensor& analysis, const at::Tensor& synthesis, const at::Tensor& c) {
  const at::Tensor deviation = c.square().mean(0).sqrt();
  const at::Tensor is_laplace = c.abs().mean(0) < deviation * kBetweenShapes;
  at::Tensor exponents = (deviation.log2() * 4).round().clamp(-256, 256).to(at::kShort).cpu();
  // Rounding may not turn the order of neighbours around.
  exponents = std::get<0>(exponents.to(at::kInt).neg().cummax(0)).neg().to(at::kShort);
  return {analysis.to(at::kFloat).cpu().contiguous(), synthesis.to(at::kFloat).cpu().contiguous(),
          exponents, is_laplace.to(at::kShort).cpu()};
}

FittedBasis EmptyBasis(int64_t dim) {
  return {at::zeros({0, dim}), at::zeros({0, dim}), at::zeros({0}, at::kShort),
          at::zeros({0}, at::kShort)};
}

// y [n, tokens * (key rows + value rows)] B.
at::Tensor ApplyTransposedToTokens(const at::Tensor& y, int64_t num_tokens, const FuserMetric& keys,
                                   const FuserMetric& values) {
  std::vector<at::Tensor> parts;
  int64_t begin = 0;
  for (int64_t token = 0; token < num_tokens; ++token) {
    for (const FuserMetric* metric : {&keys, &values}) {
      parts.push_back(metric->ApplyTransposed(y.narrow(1, begin, metric->num_rows())));
      begin += metric->num_rows();
    }
  }
  return at::cat(parts, 1);
}

}  // namespace

int SigmaExponent(double sigma) { return static_cast<int>(std::lround(4 * std::log2(sigma))); }

at::Tensor ApplyToTokens(const at::Tensor& x, int64_t num_tokens, const FuserMetric& keys,
                         const FuserMetric& values) {
  std::vector<at::Tensor> parts;
  int64_t begin = 0;
  for (int64_t token = 0; token < num_tokens; ++token) {
    for (const FuserMetric* metric : {&keys, &values}) {
      const int64_t width = WidthOf(*metric);
      parts.push_back(metric->Apply(x.narrow(1, begin, width)));
      begin += width;
    }
  }
  return at::cat(parts, 1);
}

FittedBasis FitBasis(const at::Tensor& x, const FuserMetric& metric, int64_t max_components,
                     int least_sigma) {
  if (x.size(1) == 0 || x.size(0) == 0) return EmptyBasis(x.size(1));
  const at::Tensor moments = SecondMoments(x);
  const at::Tensor moments_b = metric.Apply(moments);    // S B^T
  const at::Tensor inner = metric.Apply(moments_b.t());  // (B S B^T)^T, symmetric
  const auto [ascending, directions] = EigenOf((inner + inner.t()) / 2);
  const double least = std::exp2(least_sigma / 2.0);  // as a variance
  const int64_t live = (ascending >= least).sum().item<int64_t>();
  const int64_t k = std::min({live, max_components, ascending.size(0)});
  if (k == 0) return EmptyBasis(x.size(1));
  const at::Tensor variances = ascending.flip(0).narrow(0, 0, k);
  const at::Tensor u = directions.flip(1).narrow(1, 0, k);  // [rows, k]
  const at::Tensor analysis = metric.ApplyTransposed(u.t());
  const at::Tensor synthesis = moments_b.matmul(u).div(variances).t();
  return Finish(analysis, synthesis, x.matmul(analysis.to(at::kFloat).t()));
}

FittedBasis FitJointBasis(const at::Tensor& x, int64_t num_tokens, const FuserMetric& keys,
                          const FuserMetric& values, int64_t max_components) {
  if (x.size(1) == 0) return EmptyBasis(0);
  const at::Tensor wide = x.to(at::kDouble);
  const at::Tensor y = ApplyToTokens(wide, num_tokens, keys, values);
  // Fewer rows than columns: the eigenvectors of the small Gram matrix give those of the large one.
  const auto [ascending, directions] = EigenOf(y.matmul(y.t()) / y.size(0));
  const int64_t live = (ascending > ascending.max() * 1e-6).sum().item<int64_t>();
  const int64_t k = std::min(live, max_components);
  const at::Tensor variances = ascending.flip(0).narrow(0, 0, k);
  const at::Tensor g = directions.flip(1).narrow(1, 0, k);  // [n, k]
  const at::Tensor w =
      y.t().matmul(g).div((variances * static_cast<double>(y.size(0))).sqrt());  // [rows, k]
  const at::Tensor c = y.matmul(w);
  const at::Tensor analysis = ApplyTransposedToTokens(w.t(), num_tokens, keys, values);
  const at::Tensor synthesis = wide.t().matmul(c).div(c.square().sum(0)).t();
  return Finish(analysis, synthesis, c.to(at::kFloat));
}

}  // namespace qc2c
