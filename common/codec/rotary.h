// The rotary position embedding of keys as the codec undoes and redoes it: free of torch, in fp32,
// with the same bits on every device.
//
// Half-split layout: value i of a head pairs with value i + D/2. At position p, with inverse
// frequency f[i] of the layer:
//   angle      = p * f[i]                   rounded to fp32, as the models compute it
//   c, s       = its cosine and sine        computed in fp64, rounded to fp32
//   Unrotate   y1 = x1 * c + x2 * s         y2 = x2 * c - x1 * s
//   Rotate     x1 = y1 * c - y2 * s         x2 = y2 * c + y1 * s
// Each product and each sum is rounded to fp32; there is no fused multiply-add.
//
// Error: either of the two misses the exact rotation by at most 3u |x| a value, with u = 2^-24 and
// |x| the length of the pair: u |x| each for the products, the sum and the table. Both in turn
// therefore give back a pair to within RotationErrorBound(|x|) = 2^-21 |x|: 3 sqrt(2) u for the
// first error, turned, and 3u for the second.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "common/tensor/kv_cache_view.h"

namespace qc2c {

// How a model rotates its keys. Layers may differ (Gemma 3), so that there are few lists and a
// choice for each layer.
struct KeyRotation {
  std::vector<std::vector<float>> frequencies;  // distinct lists of D/2 inverse frequencies
  std::vector<uint32_t> of_layer;               // [L], an index into `frequencies`

  // INVALID_ARGUMENT naming the field unless D is even, there is a choice for each layer, every
  // index is in range, every list is D/2 long and its numbers are finite and not negative.
  absl::Status Validate(const KvLayout& layout) const;
  bool operator==(const KeyRotation&) const = default;
};

// Cosines and sines for a list of positions under one list of frequencies.
class RotaryTable {
 public:
  RotaryTable() = default;
  RotaryTable(std::span<const float> frequencies, std::span<const uint32_t> positions);

  // D/2 numbers for the index-th position.
  const float* Cosines(size_t index) const { return cosines_.data() + index * half_; }
  const float* Sines(size_t index) const { return sines_.data() + index * half_; }
  std::span<const float> all_cosines() const { return cosines_; }  // [positions, D/2]
  std::span<const float> all_sines() const { return sines_; }

 private:
  size_t half_ = 0;
  std::vector<float> cosines_;
  std::vector<float> sines_;
};

// In place, on the `2 * half` values of one head.
void Unrotate(const float* cosines, const float* sines, size_t half, float* values);
void Rotate(const float* cosines, const float* sines, size_t half, float* values);

// The largest difference, a value, between a pair of length `length` and what Rotate makes of what
// Unrotate made of it.
constexpr float RotationErrorBound(float length) { return length * 0x1p-21f; }

}  // namespace qc2c
