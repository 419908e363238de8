// One C2CProjector: the network that turns one layer's keys (or values) of sharer and receiver into
// what is added to the receiver's. Rows are tokens; heads are merged as h * D + d.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/fuser/fuser.h"
#include "common/model/safetensors.h"
#include "common/tensor/kv_cache_view.h"

namespace qc2c {

struct Linear {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out]
};

// y = x + w2(gelu(w1(rms_norm(x)))), GELU in its erf form.
struct FeedForwardBlock {
  at::Tensor norm;  // [H]
  at::Tensor w1;    // [I, H]
  at::Tensor w2;    // [H, I]
};

// The weights of one half (keys or values) of one layer; or of E halves at once, with an axis E in
// front of every shape.
struct ProjectorHalf {
  at::Tensor gate_logit;  // 0-dim
  Linear in;              // [H, in + out]
  FeedForwardBlock mlp1;
  FeedForwardBlock scalar_mlp2;  // its inner width is H, not I
  Linear scalar_head;            // [Ht, H]
  std::vector<FeedForwardBlock> proj_mlp2;
  Linear proj_out;  // [out, H]
};

// Calls visit(name, tensor) for each tensor of a half, by its name in the reference's state_dict
// behind "key_" or "value_".
template <typename HalfType, typename Visit>
void VisitTensors(HalfType& half, const Visit& visit) {
  const auto linear = [&](const std::string& name, auto& part) {
    visit(name + ".weight", part.weight);
    visit(name + ".bias", part.bias);
  };
  const auto block = [&](const std::string& name, auto& part) {
    visit(name + ".norm.weight", part.norm);
    visit(name + ".w1.weight", part.w1);
    visit(name + ".w2.weight", part.w2);
  };
  visit("gate_logit", half.gate_logit);
  linear("in", half.in);
  block("mlp1.blocks.0", half.mlp1);
  block("scalar_mlp2.blocks.0", half.scalar_mlp2);
  linear("scalar_head", half.scalar_head);
  for (size_t j = 0; j < half.proj_mlp2.size(); ++j) {
    block(absl::StrCat("proj_mlp2.blocks.", j), half.proj_mlp2[j]);
  }
  linear("proj_out", half.proj_out);
}

// All projectors of a fuser. A half is a parameter of its own (with its own gradient) that shares
// the storage of `whole`, so that one product serves many halves.
struct Projectors {
  ProjectorHalf whole;               // of 2 L halves: key and value of layer 0, of layer 1, ...
  std::vector<ProjectorHalf> parts;  // the 2 L halves

  static size_t Index(int32_t layer, Half half) { return 2 * layer + static_cast<size_t>(half); }
  const ProjectorHalf& Of(int32_t layer, Half half) const { return parts[Index(layer, half)]; }

  // The halves at `indices` (ascending) with an axis in front: a view where they are neighbours,
  // else a copy. With gradients it is a copy through which they flow to the parts.
  ProjectorHalf Together(const std::vector<int64_t>& indices) const;
};

// Allocated, not initialised. Appends the parameters' names, "projectors.0.key_gate_logit" ....
// Throws what torch throws.
Projectors AllocateProjectors(const FuserConfig& config, const at::TensorOptions& options,
                              NamedTensors& named);

// What one half makes of N tokens, or E halves of N tokens each with an axis E in front.
struct Projection {
  at::Tensor weight;  // w [N, Ht, 1]
  at::Tensor values;  // p [N, Ht, Dt]
};

// sharer [N, Hs Ds], receiver [N, Ht Dt], both of the weights' dtype; the sharer comes first in the
// concatenation. `dropout` is the probability of the training-time dropout inside the blocks. With
// the weights of E halves both have an axis E in front, and a product of all halves is one call.
Projection Project(const ProjectorHalf& half, const at::Tensor& sharer, const at::Tensor& receiver,
                   int64_t num_heads, double dropout);

}  // namespace qc2c
