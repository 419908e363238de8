// What a model's projections add to every key and value, for the codec.
#pragma once

#include <optional>

#include "common/codec/codec_context.h"
#include "common/model/model.h"

namespace qc2c {

// The biases of k_proj, which are in keys before their rotation, and of v_proj, in fp32; absent for
// a model without. The id is 0.
std::optional<ChannelMeans> ProjectionBiasesOf(const Model& model);

}  // namespace qc2c
