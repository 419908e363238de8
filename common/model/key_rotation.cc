#include "common/model/key_rotation.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include "common/model/forward_pass.h"

namespace qc2c {
namespace {

std::vector<float> ToVector(const at::Tensor& frequencies) {
  const float* const data = frequencies.const_data_ptr<float>();
  return {data, data + frequencies.numel()};
}

}  // namespace

KeyRotation KeyRotationOf(const ModelConfig& config) {
  const RopeFrequencies frequencies = RopeFrequencies::Of(config, at::kCPU);
  KeyRotation rotation;
  rotation.frequencies.push_back(ToVector(frequencies.full));
  if (frequencies.window.defined()) rotation.frequencies.push_back(ToVector(frequencies.window));
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    const bool is_window = config.AttentionOf(layer) == ModelConfig::Attention::kWindow;
    rotation.of_layer.push_back(is_window ? 1 : 0);
  }
  return rotation;
}

}  // namespace qc2c
