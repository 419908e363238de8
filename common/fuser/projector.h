// One C2CProjector: the network that turns one layer's keys (or values) of sharer and receiver into
// what is added to the receiver's. Rows are tokens; heads are merged as h * D + d.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

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

// The weights of one half (keys or values) of one layer.
struct ProjectorHalf {
  at::Tensor gate_logit;  // 0-dim
  Linear in;              // [H, in + out]
  FeedForwardBlock mlp1;
  FeedForwardBlock scalar_mlp2;  // its inner width is H, not I
  Linear scalar_head;            // [Ht, H]
  std::vector<FeedForwardBlock> proj_mlp2;
  Linear proj_out;  // [out, H]
};

struct Projector {
  ProjectorHalf key;
  ProjectorHalf value;
  const ProjectorHalf& Of(Half half) const { return half == Half::kKey ? key : value; }
};

// Allocated, not initialised. Appends the parameters' names, "key_gate_logit" ..., behind `prefix`.
// Throws what torch throws.
Projector AllocateProjector(const FuserConfig& config, const at::TensorOptions& options,
                            const std::string& prefix, NamedTensors& named);

// What one half makes of N tokens.
struct Projection {
  at::Tensor weight;  // w [N, Ht, 1]
  at::Tensor values;  // p [N, Ht, Dt]
};

// sharer [N, Hs Ds], receiver [N, Ht Dt], both of the weights' dtype; the sharer comes first in the
// concatenation. `dropout` is the probability of the training-time dropout inside the blocks.
Projection Project(const ProjectorHalf& half, const at::Tensor& sharer, const at::Tensor& receiver,
                   int64_t num_heads, double dropout);

}  // namespace qc2c
