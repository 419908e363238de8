// How much an error in the sharer's cache matters: what the fuser's first matrix makes of it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "common/codec/layer_set.h"
#include "common/codec/rotary.h"
#include "common/fuser/fuser.h"

namespace qc2c {

// B with |B e|^2 = the error that e, in one token's open tensors of a half, causes behind the
// fuser's first matrices: block-diagonal over the tensors. Fp64, on the fuser's device.
struct FuserMetric {
  std::vector<at::Tensor> factors;  // a tensor: [r, H * D]

  int64_t num_rows() const;
  // x [n, tensors * H * D] -> x B^T [n, rows].
  at::Tensor Apply(const at::Tensor& x) const;
  // y [n, rows] -> y B [n, tensors * H * D].
  at::Tensor ApplyTransposed(const at::Tensor& y) const;
};

// Eigenvalues, ascending, and eigenvectors, as columns, of a symmetric matrix. Computed on the CPU,
// whose results do not depend on the machine's libraries for a GPU.
struct Eigen {
  at::Tensor values;
  at::Tensor vectors;
};
Eigen EigenOf(const at::Tensor& symmetric);

// Of tensor t, B^T B is the sum of W^T W over the receiver layers with an open gate that read t, W
// being the sharer's columns of the half's first matrix. The fuser reads rotated keys and the codec
// codes un-rotated ones: of keys it is the mean over `positions`, each with its share.
FuserMetric MetricOf(const Fuser& fuser, const KvLayerSet& layers, Half half,
                     const KeyRotation& rotation, const std::vector<double>& position_shares);

}  // namespace qc2c
