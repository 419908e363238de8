// AdamW (Loshchilov and Hutter, arXiv:1711.05101, as torch.optim.AdamW) and Muon (Jordan et al.,
// 2024, https://kellerjordan.github.io/posts/muon). Both keep their state as named tensors, so that
// a checkpoint continues exactly.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/model/safetensors.h"
#include "experiments/train/recipe.h"

namespace qc2c {

// Updates the parameters it was given from their .grad(); a parameter without one is left alone.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // `lr_scale` is the schedule's share of the peak learning rate; `step` counts from 1.
  virtual void Step(int64_t step, double lr_scale) = 0;
  // The state by the parameters' names. The tensors are the state itself: a checkpoint reads them
  // and copies into them.
  virtual NamedTensors State() const = 0;
};

// Decay acts on parameters of two or more dimensions. The tensors are shared, not copied. A
// parameter of a narrower type than fp32 is trained as an fp32 copy, part of the state, and rounded
// from that after each step.
std::unique_ptr<Optimizer> MakeAdamW(const NamedTensors& parameters, const AdamWOptions& options);

// REQUIRES: every parameter is a matrix.
std::unique_ptr<Optimizer> MakeMuon(const NamedTensors& parameters, const MuonOptions& options);

// Five Newton-Schulz steps towards the nearest semi-orthogonal matrix of each [rows, columns]
// slice: the singular values end near 1 (0.7 .. 1.2). [N, rows, columns] float -> the same.
at::Tensor Orthogonalize(const at::Tensor& matrices);

// Scales all gradients so that their common L2 norm is at most `limit`; returns the norm before.
double ClipGradients(const NamedTensors& parameters, double limit);

}  // namespace qc2c
