// What a codec may need to know besides a cache: facts about the sharer's model that both sides
// hold, so that they need not travel with a question.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/codec/rotary.h"
#include "common/tensor/kv_cache_view.h"

namespace qc2c {

// The mean of each channel of each tensor over calibration prompts: of keys with their rotation
// undone, of values as they are.
struct ChannelMeans {
  uint64_t id = 0;  // the hash of the file it comes from; never 0
  KvLayout layout;
  std::vector<float> keys;    // [L, H, D]
  std::vector<float> values;  // [L, H, D]
};

struct ModelFacts {
  KeyRotation rotation;
  // The biases of the projections that make keys and values, which are in every one of them; absent
  // for a model without. The id is 0.
  std::optional<ChannelMeans> biases;
  std::vector<ChannelMeans> calibrations;
};

// Scores of a cache's tokens that whoever made it knows: for the selections whose scores are not in
// the cache itself (selection.h). In the cache's own memory; finite, not negative.
struct TokenScores {
  const float* data = nullptr;  // [L, T], T without gaps
  int64_t layer_stride = 0;

  const float* Layer(int32_t layer) const { return data + layer * layer_stride; }
};

// For one cache. Borrows everything.
struct CodecContext {
  const ModelFacts* facts = nullptr;
  // The position in its prompt of each token of the cache, sent or not; empty: 0 .. T - 1.
  std::span<const uint32_t> token_positions;
  TokenScores token_scores = {};  // encoding with a selection that HasGivenScores
  // Encoding: the chunk size of the WriteFrame that follows, 0 if there is none. With entropy=rans
  // a cache on CUDA then gives a coded frame (KvFrame).
  uint32_t chunk_bytes = 0;
};

}  // namespace qc2c
