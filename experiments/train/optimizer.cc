#include "experiments/train/optimizer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/baddbmm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace qc2c {
namespace {

class AdamW : public Optimizer {
 public:
  AdamW(const NamedTensors& parameters, const AdamWOptions& options)
      : options_(options), parameters_(parameters) {
    for (const auto& [name, parameter] : parameters_) {
      weights_.push_back(parameter.detach().to(at::kFloat));  // itself, if it is fp32
      first_.push_back(at::zeros_like(weights_.back()));
      second_.push_back(at::zeros_like(weights_.back()));
    }
  }

  void Step(int64_t step, double lr_scale) override {
    const at::NoGradGuard no_grad;
    const double lr = options_.lr * lr_scale;
    const double correction1 = 1.0 - std::pow(options_.beta1, step);
    const double correction2 = 1.0 - std::pow(options_.beta2, step);
    for (size_t i = 0; i < parameters_.size(); ++i) {
      at::Tensor parameter = parameters_[i].second;
      if (!parameter.grad().defined()) continue;
      const at::Tensor grad = parameter.grad().to(at::kFloat);
      at::Tensor weight = weights_[i];
      if (weight.dim() >= 2) weight.mul_(1.0 - lr * options_.decay);
      first_[i].mul_(options_.beta1).add_(grad, 1.0 - options_.beta1);
      second_[i].mul_(options_.beta2).addcmul_(grad, grad, 1.0 - options_.beta2);
      const at::Tensor spread = second_[i].sqrt().div_(std::sqrt(correction2)).add_(options_.eps);
      weight.addcdiv_(first_[i], spread, -lr / correction1);
      if (IsCopy(i)) parameter.copy_(weight);
    }
  }

  NamedTensors State() const override {
    NamedTensors state;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      state.emplace_back("adamw.first." + parameters_[i].first, first_[i]);
      state.emplace_back("adamw.second." + parameters_[i].first, second_[i]);
      if (IsCopy(i)) state.emplace_back("adamw.weight." + parameters_[i].first, weights_[i]);
    }
    return state;
  }

 private:
  bool IsCopy(size_t i) const { return parameters_[i].second.scalar_type() != at::kFloat; }

  AdamWOptions options_;
  NamedTensors parameters_;
  std::vector<at::Tensor> weights_;         // what is trained, fp32
  std::vector<at::Tensor> first_, second_;  // moments, one a parameter
};

class Muon : public Optimizer {
 public:
  Muon(const NamedTensors& parameters, const MuonOptions& options) : options_(options) {
    std::map<std::pair<int64_t, int64_t>, Group> by_shape;
    for (const auto& [name, parameter] : parameters) {
      Group& group = by_shape[{parameter.size(0), parameter.size(1)}];
      group.parameters.emplace_back(name, parameter);
    }
    for (auto& [shape, group] : by_shape) {
      const int64_t count = std::ssize(group.parameters);
      group.momentum = at::zeros({count, shape.first, shape.second},
                                 group.parameters.front().second.options().requires_grad(false));
      groups_.push_back(std::move(group));
    }
  }

  void Step(int64_t /*step*/, double lr_scale) override {
    const at::NoGradGuard no_grad;
    for (Group& group : groups_) {
      std::vector<at::Tensor> grads;
      for (const auto& [name, parameter] : group.parameters) {
        grads.push_back(parameter.grad().defined() ? parameter.grad() : at::zeros_like(parameter));
      }
      const at::Tensor grad = at::stack(grads);
      group.momentum.mul_(options_.momentum).add_(grad);
      // Nesterov: look one step ahead along the momentum.
      const at::Tensor update = Orthogonalize(at::add(grad, group.momentum, options_.momentum));
      const double aspect = static_cast<double>(grad.size(1)) / static_cast<double>(grad.size(2));
      const double lr = options_.lr * lr_scale * std::sqrt(std::max(1.0, aspect));
      for (size_t i = 0; i < group.parameters.size(); ++i) {
        at::Tensor parameter = group.parameters[i].second;
        parameter.mul_(1.0 - lr * options_.decay).add_(update[i], -lr);
      }
    }
  }

  NamedTensors State() const override {
    NamedTensors state;
    for (const Group& group : groups_) {
      for (size_t i = 0; i < group.parameters.size(); ++i) {
        state.emplace_back("muon.momentum." + group.parameters[i].first, group.momentum[i]);
      }
    }
    return state;
  }

 private:
  struct Group {  // parameters of one shape, so that the matrix products are few and batched
    NamedTensors parameters;
    at::Tensor momentum;  // [N, rows, columns]
  };

  MuonOptions options_;
  std::vector<Group> groups_;
};

}  // namespace

std::unique_ptr<Optimizer> MakeAdamW(const NamedTensors& parameters, const AdamWOptions& options) {
  return std::make_unique<AdamW>(parameters, options);
}

std::unique_ptr<Optimizer> MakeMuon(const NamedTensors& parameters, const MuonOptions& options) {
  return std::make_unique<Muon>(parameters, options);
}

at::Tensor Orthogonalize(const at::Tensor& matrices) {
  // The quintic's coefficients are the published ones: steepest at 0 while staying bounded.
  constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315;
  constexpr int kSteps = 5;
  const bool tall = matrices.size(1) > matrices.size(2);
  at::Tensor x = tall ? matrices.transpose(1, 2) : matrices;
  x = x / (at::linalg_vector_norm(x, 2, at::IntArrayRef({1, 2}), /*keepdim=*/true) + 1e-7);
  for (int step = 0; step < kSteps; ++step) {
    const at::Tensor gram = at::bmm(x, x.transpose(1, 2));
    const at::Tensor polynomial = at::baddbmm(gram, gram, gram, /*beta=*/kB, /*alpha=*/kC);
    x = at::baddbmm(x, polynomial, x, /*beta=*/kA);
  }
  return tall ? x.transpose(1, 2) : x;
}

double ClipGradients(const NamedTensors& parameters, double limit) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> grads, norms;
  for (const auto& [name, parameter] : parameters) {
    if (!parameter.grad().defined()) continue;
    grads.push_back(parameter.grad());
    norms.push_back(at::linalg_vector_norm(grads.back()));
  }
  if (grads.empty()) return 0.0;
  const double norm = at::linalg_vector_norm(at::stack(norms)).item<double>();
  if (norm > limit) {
    for (at::Tensor& grad : grads) grad.mul_(limit / (norm + 1e-6));
  }
  return norm;
}

}  // namespace qc2c
