// A small random model of any family, for tests that need no transformers.
#pragma once

#include <ATen/Context.h>
#include <ATen/ops/randn.h>

#include "common/model/model.h"

namespace qc2c {

inline ModelConfig SmallConfig() {
  ModelConfig config;
  config.architecture = "Qwen2ForCausalLM";
  config.num_layers = 3;
  config.hidden_size = 24;
  config.intermediate_size = 40;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 8;
  config.vocab_size = 50;
  config.max_positions = 40;
  config.traits.qkv_bias = ModelConfig::Traits::QkvBias::kPresent;
  config.embedding = ModelConfig::Embedding::kUntied;
  return config;
}

inline Model RandomModel(const ModelConfig& config, const ModelOptions& options = {}) {
  Model model = Model::Create(config, options).value();
  at::manual_seed(1);
  for (auto [name, tensor] : model.parameters()) {
    tensor.copy_(at::randn(tensor.sizes()).mul_(0.3));  // drawn on the CPU, whatever the device
  }
  return model;
}

}  // namespace qc2c
