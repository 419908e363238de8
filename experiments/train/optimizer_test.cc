#include "experiments/train/optimizer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numbers>
#include <vector>

namespace qc2c {
namespace {

at::Tensor Floats(const std::vector<float>& values, at::IntArrayRef shape) {
  return at::tensor(values, at::kFloat).reshape(shape);
}

void SetGrad(at::Tensor parameter, const at::Tensor& grad) { parameter.mutable_grad() = grad; }

// What five Newton-Schulz steps make of one singular value, in double precision.
double NewtonSchulz(double s) {
  for (int step = 0; step < 5; ++step) {
    s = 3.4445 * s - 4.7750 * std::pow(s, 3) + 2.0315 * std::pow(s, 5);
  }
  return s;
}

at::Tensor Rotation(double angle) {
  const auto c = static_cast<float>(std::cos(angle)), s = static_cast<float>(std::sin(angle));
  return Floats({c, -s, s, c}, {2, 2});
}

// U diag(a, b) V^T with U a rotation of the plane and V^T the first two rows of a rotation in
// space.
at::Tensor WithSingularValues(double a, double b) {
  at::Tensor right = at::zeros({2, 3});
  right.narrow(1, 0, 2).copy_(Rotation(1.1));
  const at::Tensor values = Floats({static_cast<float>(a), 0, 0, static_cast<float>(b)}, {2, 2});
  return at::matmul(at::matmul(Rotation(0.4), values), right);
}

TEST(AdamWTest, EqualsTorchOptim) {
  // torch.optim.AdamW of PyTorch 2.11 in Python: three steps, betas (0.9, 0.98), eps 1e-8, lr 0.01
  // (the second step 0.005), decay 0.1 on the matrix and 0 on the vector, gradients as below.
  const at::Tensor matrix = Floats({1.0f, -2.0f, 0.5f, 3.0f}, {2, 2});
  const at::Tensor vector = Floats({0.25f, -1.5f}, {2});
  const auto adamw = MakeAdamW({{"m", matrix}, {"v", vector}},
                               {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.98, .decay = 0.1});
  for (int64_t step = 1; step <= 3; ++step) {
    SetGrad(matrix, Floats({0.1f, -0.2f, 0.3f, 0.4f}, {2, 2}) * step);
    SetGrad(vector, Floats({-0.5f, 0.05f}, {2}) / step);
    adamw->Step(step, step == 2 ? 0.5 : 1.0);
  }
  const at::Tensor expected_matrix =
      Floats({0.973181903f, -1.970683694f, 0.474430889f, 2.968185902f}, {2, 2});
  const at::Tensor expected_vector = Floats({0.273461103f, -1.523461223f}, {2});
  // A few roundings of values near 3.
  EXPECT_LT((matrix - expected_matrix).abs().max().item<float>(), 1e-6);
  EXPECT_LT((vector - expected_vector).abs().max().item<float>(), 1e-6);
}

TEST(AdamWTest, StepsTooSmallForBf16AddUpInTheFp32Copy) {
  // bf16 has a spacing of 2^-7 at 1: a step of 0.001 alone is lost, ten of them are not.
  const at::Tensor narrow = at::ones({2}, at::kBFloat16);
  const at::Tensor wide = at::ones({2});
  const auto narrow_adamw = MakeAdamW({{"p", narrow}}, {.lr = 0.001});
  const auto wide_adamw = MakeAdamW({{"p", wide}}, {.lr = 0.001});
  for (int64_t step = 1; step <= 10; ++step) {
    SetGrad(narrow, at::ones({2}, at::kBFloat16));
    SetGrad(wide, at::ones({2}));
    narrow_adamw->Step(step, 1.0);
    wide_adamw->Step(step, 1.0);
  }
  EXPECT_TRUE(narrow.equal(wide.to(at::kBFloat16)));
  EXPECT_LT(narrow[0].item<float>(), 1.0f);
}

TEST(AdamWTest, AParameterWithoutGradientStays) {
  const at::Tensor parameter = at::ones({2, 2});
  MakeAdamW({{"p", parameter}}, {.lr = 0.1, .decay = 0.1})->Step(1, 1.0);
  EXPECT_TRUE(parameter.equal(at::ones({2, 2})));
}

TEST(MuonTest, OrthogonalizeMovesEachSingularValueAsTheScalarIterationDoes) {
  const double norm = std::hypot(3.0, 0.5);
  const at::Tensor expected =
      WithSingularValues(NewtonSchulz(3.0 / norm), NewtonSchulz(0.5 / norm));
  const at::Tensor wide = WithSingularValues(3.0, 0.5);
  const at::Tensor both = Orthogonalize(at::stack({wide, 7.0 * wide}));  // the scale drops out
  EXPECT_LT((both[0] - expected).abs().max().item<float>(), 1e-5);
  EXPECT_LT((both[1] - expected).abs().max().item<float>(), 1e-5);
  const at::Tensor tall = Orthogonalize(wide.t().unsqueeze(0))[0];
  EXPECT_LT((tall - expected.t()).abs().max().item<float>(), 1e-5);
}

TEST(MuonTest, StepsAlongTheNesterovDirectionAndScalesTallMatrices) {
  const at::Tensor parameter = at::ones({3, 2});
  const auto muon = MakeMuon({{"p", parameter}}, {.lr = 0.02, .momentum = 0.9, .decay = 0.1});
  const at::Tensor first = WithSingularValues(2.0, 1.0).t();
  const at::Tensor second = WithSingularValues(0.5, 1.5).t();
  SetGrad(parameter, first.clone());
  muon->Step(1, 1.0);
  SetGrad(parameter, second.clone());
  muon->Step(2, 0.5);
  // By hand: momentum 1 = g1, direction 1 = (1 + 0.9) g1; momentum 2 = 0.9 g1 + g2, direction 2 =
  // 0.81 g1 + 1.9 g2, all with the same singular vectors.
  const auto direction = [](double a, double b) {
    const double norm = std::hypot(a, b);
    return WithSingularValues(NewtonSchulz(a / norm), NewtonSchulz(b / norm)).t();
  };
  const double lr = 0.02 * std::sqrt(3.0 / 2.0);
  at::Tensor expected = at::ones({3, 2});
  expected = expected * (1.0 - lr * 0.1) - lr * direction(2.0, 1.0);
  expected = expected * (1.0 - 0.5 * lr * 0.1) -
             0.5 * lr * direction(0.81 * 2.0 + 1.9 * 0.5, 0.81 * 1.0 + 1.9 * 1.5);
  EXPECT_LT((parameter - expected).abs().max().item<float>(), 1e-6);
}

TEST(ClipTest, ScalesAllGradientsByTheCommonNorm) {
  const at::Tensor a = at::zeros({2}), b = at::zeros({1, 1}), c = at::zeros({1});
  SetGrad(a, Floats({3.0f, 0.0f}, {2}));
  SetGrad(b, Floats({4.0f}, {1, 1}));
  EXPECT_NEAR(ClipGradients({{"a", a}, {"b", b}, {"c", c}}, 10.0), 5.0, 1e-6);
  EXPECT_FLOAT_EQ(b.grad().item<float>(), 4.0f);
  EXPECT_NEAR(ClipGradients({{"a", a}, {"b", b}, {"c", c}}, 1.0), 5.0, 1e-6);
  EXPECT_NEAR(a.grad()[0].item<float>(), 0.6f, 1e-6);
  EXPECT_NEAR(b.grad().item<float>(), 0.8f, 1e-6);
}

}  // namespace
}  // namespace qc2c
