// Means of a model's keys and values over prompts, channel by channel.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "common/codec/codec_context.h"
#include "common/model/model.h"

namespace qc2c {

// Adds up the caches of prompts, keys with their rotation undone as the codec does it.
class ChannelSums {
 public:
  explicit ChannelSums(const Model& model);

  // Prefills the prompts together; every token counts once. Errors as Model::Forward.
  absl::Status Add(const std::vector<std::vector<int32_t>>& prompts);

  int64_t num_tokens() const { return num_tokens_; }
  // REQUIRES: num_tokens() > 0. The id is 0.
  ChannelMeans Means() const;

 private:
  const Model& model_;
  const KeyRotation rotation_;
  at::Tensor sums_[2];  // keys, values: [L, H, D] fp64
  int64_t num_tokens_ = 0;
};

}  // namespace qc2c
