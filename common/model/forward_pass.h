// What the layers of one Forward call share: rotations and masks.
#pragma once

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "common/model/attention_mass.h"
#include "common/model/layers.h"
#include "common/model/model.h"

namespace qc2c {

struct RopeFrequencies {
  at::Tensor full;    // [D / 2] fp32
  at::Tensor window;  // the same for windowed layers; undefined if there is none

  static RopeFrequencies Of(const ModelConfig& config, at::Device device);
};

struct LayerPass {
  Rotary rotary;
  // Added to the scores: [T, T] for all rows, or [B, 1, T, T] where rows have positions of their
  // own; with a past [B, 1, R, S + T] for the R rows of queries that share a KV head (R = Hq / H *
  // T, or 1 for all of them). Undefined: causal.
  at::Tensor mask;
  // Whose attention is wanted; null: nobody's.
  const LastTokens* last_tokens = nullptr;
};

struct ForwardPass {
  LayerPass full;
  LayerPass window;      // undefined if no layer is windowed
  at::Tensor positions;  // [T] or [B, T] int64: of the new tokens
};

// INVALID_ARGUMENT if given positions are misshapen or, on the CPU, outside of the model's.
absl::Status CheckPositions(const TokenBatch& tokens, const ModelConfig& config);

// [B]: of each row's token after these.
at::Tensor NextPositions(const TokenBatch& tokens, const KvCache* past);

// `dtype` is that of the activations.
ForwardPass MakeForwardPass(const ModelConfig& config, const RopeFrequencies& frequencies,
                            const TokenBatch& tokens, const KvCache* past, at::ScalarType dtype);

}  // namespace qc2c
