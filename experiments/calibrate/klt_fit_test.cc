#include "experiments/calibrate/klt_fit.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/log1p.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sign.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

namespace qc2c {
namespace {

// Three independent directions of a space of five, seen through a metric that weighs two
// coordinates.
class KltFitTest : public testing::Test {
 protected:
  KltFitTest() {
    at::manual_seed(5);
    x_ = at::randn({4000, 5}) * at::tensor({1.0f, 8.0f, 0.5f, 4.0f, 2.0f});
    x_ = x_ - x_.mean(0);
    at::Tensor factor = at::zeros({2, 5}, at::kDouble);
    factor[0][0] = 3;    // weighted deviation 3
    factor[1][3] = 0.5;  // weighted deviation 2
    metric_.factors = {factor};
  }
  at::Tensor x_;
  FuserMetric metric_;
};

TEST_F(KltFitTest, ComponentsAreThoseThatTheMetricSees) {
  const FittedBasis basis = FitBasis(x_, metric_, 10, -100);
  ASSERT_EQ(basis.size(), 2);
  EXPECT_EQ(basis.sigma[0].item<int16_t>(), SigmaExponent(3));
  EXPECT_EQ(basis.sigma[1].item<int16_t>(), SigmaExponent(2));
  // The coefficient is the weighted coordinate up to its sign; synthesis gives the coordinate back.
  EXPECT_NEAR(std::abs(basis.analysis[0][0].item<float>()), 3, 0.1);
  EXPECT_NEAR(std::abs(basis.analysis[1][3].item<float>()), 0.5, 0.05);
  EXPECT_NEAR((basis.analysis[0] * basis.synthesis[0]).sum().item<float>(), 1, 1e-4);
  EXPECT_NEAR(std::abs(basis.synthesis[0][0].item<float>()), 1.0 / 3, 0.02);
}

TEST_F(KltFitTest, SynthesisIsTheRegressionOnTheCoefficient) {
  const FittedBasis basis = FitBasis(x_, metric_, 10, -100);
  const at::Tensor c = x_.matmul(basis.analysis.t());
  for (int64_t k = 0; k < basis.size(); ++k) {
    const at::Tensor own = c.select(1, k);
    const at::Tensor regression = own.matmul(x_) / own.square().sum();
    EXPECT_TRUE(at::allclose(basis.synthesis[k], regression, 1e-3, 1e-3));
  }
}

TEST_F(KltFitTest, WeakComponentsAreLeftOut) {
  EXPECT_EQ(FitBasis(x_, metric_, 10, SigmaExponent(2.5)).size(), 1);
  EXPECT_EQ(FitBasis(x_, metric_, 1, -100).size(), 1);
  EXPECT_EQ(FitBasis(x_, metric_, 10, SigmaExponent(100)).size(), 0);
}

TEST_F(KltFitTest, ShapesTellANormalFromALaplaceDensity) {
  const at::Tensor uniform = at::rand({20000}) - 0.5;
  const at::Tensor laplace = -at::sign(uniform) * at::log1p(-2 * uniform.abs()) * 3;
  const at::Tensor x = at::stack({laplace, at::randn({20000})}, 1);
  FuserMetric metric;
  metric.factors = {at::eye(2, at::kDouble)};
  const FittedBasis basis = FitBasis(x - x.mean(0), metric, 2, -100);
  EXPECT_EQ(basis.shape[0].item<int16_t>(), 1);
  EXPECT_EQ(basis.shape[1].item<int16_t>(), 0);
}

// Fewer rows than columns; a joint basis of all components restores every row in the metric.
TEST(JointFitTest, AllComponentsRestoreTheCalibrationRows) {
  at::manual_seed(6);
  FuserMetric keys, values;
  keys.factors = {at::randn({3, 4}, at::kDouble)};
  values.factors = {at::randn({4, 4}, at::kDouble), at::randn({2, 4}, at::kDouble)};
  at::Tensor x = at::randn({9, 2 * 12});
  x = x - x.mean(0);
  const FittedBasis basis = FitJointBasis(x, 2, keys, values, 64);
  EXPECT_EQ(basis.size(), 8);  // nine rows without their mean
  const at::Tensor c = x.matmul(basis.analysis.t());
  const at::Tensor again = c.matmul(basis.synthesis);
  EXPECT_TRUE(at::allclose(ApplyToTokens(again, 2, keys, values), ApplyToTokens(x, 2, keys, values),
                           1e-3, 1e-3));
  for (int64_t k = 1; k < basis.size(); ++k) {
    EXPECT_LE(basis.sigma[k].item<int16_t>(), basis.sigma[k - 1].item<int16_t>());
  }
}

}  // namespace
}  // namespace qc2c
