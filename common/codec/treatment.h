// What is done to the values of a block before they are quantized, and undone after. In this order,
// on the D values x of one head of one token, in fp32 and the same on every device:
//
//   rotation=remove   keys: Unrotate (rotary.h) at the token's position in its prompt
//   mean=calibrated   x[d] - mean[head, d], a number of a calibration file
//   mean=bias         the same with the bias of the projection that made the key or value
//   hadamard=...      the butterfly of HadamardTransform, not normalised
//
// Undoing: HadamardTransform and a product with 1/D (exact: D is a power of two); + mean; Rotate.
// The scheme sees the treated values as an fp32 cache, so that every scheme and axis goes with
// every treatment.
//
// Error, with e the scheme's own error of the treated values of a head (as its header bounds it), m
// the mean and |.| Euclidean lengths over the head's D values:
//   |x - x'| <= (|e| / sqrt(D) if transformed, else |e|) * (1 + 2^-18) + 2^-18 (|x| + |m|)
// Rotation and transform keep lengths (up to sqrt(D)); with u = 2^-24, rotating back and forth
// costs 9u |x|, the mean 4u (|x| + |m|), the transforms' stages u of their result each, 2 log2(D) u
// in all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/codec/codec_context.h"
#include "common/codec/layer_set.h"
#include "common/codec/scheme.h"
#include "common/codec/treatment_spec.h"

namespace qc2c {

// In place: for step = 1, 2, 4, ... below `num`, every pair (a, b) of values `step` apart, the
// first one's index having no bit `step`, becomes (a + b, a - b). REQUIRES: num is a power of two.
void HadamardTransform(float* values, size_t num);

// The steps for one tensor; absent ones are null or false.
struct TreatmentSteps {
  const RotaryTable* rotary = nullptr;
  size_t first_token = 0;        // of the plane in `rotary`
  const float* means = nullptr;  // [H, D]
  bool has_transform = false;
};

class Treatment {
 public:
  // For planes of `num_tokens` tokens; token t of a plane is token tokens[t] of the context's
  // cache, or t itself if `tokens` is empty. INVALID_ARGUMENT naming what does not fit: a head size
  // that cannot be rotated or transformed, a position too few, a model whose rotation does not fit
  // the layout; FAILED_PRECONDITION: facts, a calibration or biases that this side does not hold.
  static absl::StatusOr<Treatment> Create(const TreatmentSpec& spec, const KvLayout& layout,
                                          size_t num_tokens, std::span<const uint32_t> tokens,
                                          const CodecContext& context);

  // The layer's planes begin at token tokens[first] of Create: with an index set a layer, whose
  // tokens lie one set after another.
  void UseTokensFrom(int32_t layer, size_t first);

  // Whether nothing is done to any tensor.
  bool is_nothing() const { return spec_ == TreatmentSpec(); }

  TreatmentSteps StepsOf(const KvTensorId& tensor) const;

  // Reads every row of `rows` and writes `treated` [rows.positions, H, D].
  void Apply(const KvTensorId& tensor, const BlockRows& rows, float* treated) const;
  // The opposite. Overwrites `treated`.
  void Undo(const KvTensorId& tensor, float* treated, const BlockRows& rows) const;

  // One for each of the model's lists of frequencies; none where keys stay as they are.
  const std::vector<RotaryTable>& rotary_tables() const { return rotary_; }

 private:
  Treatment(const TreatmentSpec& spec, const KvLayout& layout) : spec_(spec), layout_(layout) {}
  absl::Status UseRotation(const KeyRotation& rotation, size_t num_tokens,
                           std::span<const uint32_t> tokens, const CodecContext& context);
  absl::Status UseMeans(const ModelFacts& facts);
  absl::Status UseBiases(const ModelFacts& facts);

  TreatmentSpec spec_;
  KvLayout layout_;
  std::vector<RotaryTable> rotary_;
  std::vector<uint32_t> rotary_of_layer_;
  std::vector<size_t> first_token_of_layer_;  // as long as is needed; 0 beyond
  const ChannelMeans* means_ = nullptr;       // of the context
};

// The treated values of one block at a time, between a cache and a scheme. Without a treatment the
// scheme works on the cache itself. Borrows the treatment.
class TreatedBlock {
 public:
  TreatedBlock(const Treatment& treatment, const KvLayout& layout, size_t num_kept);

  // Encoding: the rows that the scheme reads for `rows`; valid until the next call.
  BlockRows Apply(const KvTensorId& tensor, const BlockRows& rows);
  // Decoding: the rows that the scheme writes for `rows`, and then what makes of them `rows`.
  BlockRows Target(const BlockRows& rows);
  void Undo(const KvTensorId& tensor, const BlockRows& rows);

 private:
  const Treatment& treatment_;
  std::vector<uint32_t> tokens_;  // 0 .. K - 1
  std::vector<float> values_;     // [K, H, D]
};

}  // namespace qc2c
