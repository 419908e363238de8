// How a model rotates its keys, for the codec.
#pragma once

#include "common/codec/rotary.h"
#include "common/model/model_config.h"

namespace qc2c {

// The inverse frequencies that the forward pass uses, bit for bit.
KeyRotation KeyRotationOf(const ModelConfig& config);

}  // namespace qc2c
