#include "common/model/projection_biases.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <string>

namespace qc2c {
namespace {

void Append(const at::Tensor& bias, std::vector<float>& all) {
  const at::Tensor numbers = bias.detach().to(at::kCPU, at::kFloat).contiguous();
  const float* const data = numbers.const_data_ptr<float>();
  all.insert(all.end(), data, data + numbers.numel());
}

}  // namespace

std::optional<ChannelMeans> ProjectionBiasesOf(const Model& model) {
  if (model.config().traits.qkv_bias == ModelConfig::Traits::QkvBias::kNone) return std::nullopt;
  ChannelMeans biases = {.id = 0, .layout = model.config().Layout(), .keys = {}, .values = {}};
  for (int32_t layer = 0; layer < model.config().num_layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".self_attn.";
    for (const auto& [name, tensor] : model.parameters()) {
      if (name == prefix + "k_proj.bias") Append(tensor, biases.keys);
      if (name == prefix + "v_proj.bias") Append(tensor, biases.values);
    }
  }
  return biases;
}

}  // namespace qc2c
