// Frames for the tests of this library: valid, deterministic, with arbitrary codes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/wire/frame_codec.h"

namespace qc2c {

struct FrameShape {
  KvLayout layout{.num_layers = 5, .num_kv_heads = 2, .head_dim = 32};
  uint32_t num_tokens = 31;
  KvLayerSet layers = KvLayerSet::Both({1, 2, 3, 4});
  uint32_t seed = 1;
};

// A frame of `codec` (CodecSpec::Parse's text) whose codes, scales and, for the selections by norm,
// positions are pseudo-random. Scales are finite and not negative.
KvFrame RandomFrame(const std::string& codec, const FrameShape& shape = {});

FrameExpectation ExpectationOf(const KvFrame& frame);

// What a fresh reader makes of `messages`.
absl::StatusOr<KvFrame> ReadFrame(const FrameExpectation& expectation,
                                  const std::vector<std::string>& messages);

// Fails the running test unless both frames say the same.
void ExpectSameFrame(const KvFrame& actual, const KvFrame& expected);

}  // namespace qc2c
