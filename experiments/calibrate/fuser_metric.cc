#include "experiments/calibrate/fuser_metric.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace qc2c {
namespace {

// Directions that weigh less than this share of the heaviest do not matter.
constexpr double kNegligible = 1e-9;

// The sharer's columns of the first matrices that read tensor `layer`, one below the other.
at::Tensor ReadersOf(const Fuser& fuser, int32_t layer, Half half) {
  std::map<std::string, at::Tensor> named(fuser.parameters().begin(), fuser.parameters().end());
  const FuserConfig& config = fuser.config();
  const int64_t width = int64_t{config.sharer.num_kv_heads} * config.sharer.head_dim;
  std::vector<at::Tensor> readers;
  for (int32_t t = 0; t < config.receiver.num_layers; ++t) {
    if (config.layer_map[t] != layer || !fuser.GateIsOpen(t, half)) continue;
    const std::string name =
        absl::StrCat("projectors.", t, ".", std::string(HalfName(half)), "_in.weight");
    readers.push_back(named.at(name).narrow(1, 0, width).to(at::kDouble));
  }
  return at::cat(readers);
}

// The mean over positions p of (A R_p)^T (A R_p), R_p being the rotation: rows of A are turned
// back.
at::Tensor RotatedGram(const at::Tensor& a, const KvLayout& layout,
                       const std::vector<float>& frequencies,
                       const std::vector<double>& position_shares) {
  const std::vector<at::Tensor> pairs =
      a.view({a.size(0), layout.num_kv_heads, layout.head_dim}).chunk(2, -1);
  const at::Tensor list = at::tensor(frequencies, at::kDouble).to(a.device());
  at::Tensor gram = at::zeros({a.size(1), a.size(1)}, a.options());
  for (size_t p = 0; p < position_shares.size(); ++p) {
    if (position_shares[p] == 0) continue;
    const at::Tensor angles = list * static_cast<double>(p);
    const at::Tensor cosines = angles.cos(), sines = angles.sin();
    const at::Tensor turned = at::cat({pairs[0] * cosines + pairs[1] * sines,  //
                                       pairs[1] * cosines - pairs[0] * sines},
                                      -1)
                                  .view(a.sizes());
    gram.addmm_(turned.t(), turned, 1, position_shares[p]);
  }
  return gram;
}

}  // namespace

Eigen EigenOf(const at::Tensor& symmetric) {
  const auto [values, vectors] = at::linalg_eigh(symmetric.cpu());
  return {values.to(symmetric.device()), vectors.to(symmetric.device())};
}

int64_t FuserMetric::num_rows() const {
  int64_t rows = 0;
  for (const at::Tensor& factor : factors) rows += factor.size(0);
  return rows;
}

at::Tensor FuserMetric::Apply(const at::Tensor& x) const {
  std::vector<at::Tensor> parts;
  int64_t begin = 0;
  for (const at::Tensor& factor : factors) {
    const at::Tensor own = factor.to(x.scalar_type());
    parts.push_back(x.narrow(1, begin, own.size(1)).matmul(own.t()));
    begin += own.size(1);
  }
  return parts.empty() ? at::zeros({x.size(0), 0}, x.options()) : at::cat(parts, 1);
}

at::Tensor FuserMetric::ApplyTransposed(const at::Tensor& y) const {
  std::vector<at::Tensor> parts;
  int64_t begin = 0;
  for (const at::Tensor& factor : factors) {
    const at::Tensor own = factor.to(y.scalar_type());
    parts.push_back(y.narrow(1, begin, own.size(0)).matmul(own));
    begin += own.size(0);
  }
  return parts.empty() ? at::zeros({y.size(0), 0}, y.options()) : at::cat(parts, 1);
}

FuserMetric MetricOf(const Fuser& fuser, const KvLayerSet& layers, Half half,
                     const KeyRotation& rotation, const std::vector<double>& position_shares) {
  FuserMetric metric;
  for (const int32_t layer : layers.Of(half)) {
    const at::Tensor a = ReadersOf(fuser, layer, half);
    const at::Tensor gram =
        half == Half::kValue
            ? a.t().matmul(a)
            : RotatedGram(a, fuser.config().sharer, rotation.frequencies[rotation.of_layer[layer]],
                          position_shares);
    const auto [weights, directions] = EigenOf(gram);
    const at::Tensor heavy = weights > weights.max() * kNegligible;
    const at::Tensor rows = heavy.nonzero().squeeze(1);
    metric.factors.push_back(weights.index_select(0, rows).sqrt().unsqueeze(1) *
                             directions.index_select(1, rows).t());
  }
  return metric;
}

}  // namespace qc2c
