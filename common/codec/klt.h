// The scheme klt: a prompt's cache as coefficients of a codebook (klt_codebook.h).
//
// The CPU computes it, whatever device the cache came from: a caller copies the open tensors of a
// cache on a GPU first, which is small beside the transform.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/codec/codec.h"
#include "common/codec/klt_codebook.h"
#include "common/codec/klt_layout.h"

namespace qc2c {

// One prompt's cache, ready to be encoded at any level of the codebook, which it borrows.
class KltEncoder {
 public:
  // `cache` has the prompt's wanted tokens, keys as cached, on the CPU. INVALID_ARGUMENT for a
  // prompt that does not fit the codebook's template, another layout, an absent tensor, and for NaN
  // or infinity, naming layer, half, token and head.
  static absl::StatusOr<KltEncoder> Create(const KltCodebook& codebook, const KltPrompt& prompt,
                                           const KvCacheView& cache);

  // frame.model_fingerprint is the codebook's sharer. INVALID_ARGUMENT naming the level if there is
  // none such, or the coefficient that is beyond kMaxKltValue steps.
  absl::StatusOr<KvFrame> Encode(uint32_t level) const;

  const KltCodebook& codebook() const { return *codebook_; }

 private:
  KltEncoder(const KltCodebook& codebook, uint32_t num_tokens)
      : codebook_(&codebook), num_tokens_(num_tokens) {}

  void AppendJoint(const KltPart& part, std::vector<float>& coefficients) const;
  // Of parts of one source, which alternate between keys and values.
  void AppendTokens(std::span<const KltPart> parts, std::vector<float>& coefficients) const;

  const KltCodebook* codebook_;
  uint32_t num_tokens_;
  // By Half: [middle tokens + tail tokens, Dim], un-rotated, less the mean.
  std::array<std::vector<float>, 2> rows_;
};

// DecodeCache for such a frame: `out` is on the CPU, of the codebook's layout, and its token i is
// the frame's i-th kept token. `positions` are those of all wanted tokens in what the sharer read:
// keys are rotated there. Safe on untrusted frames: INVALID_ARGUMENT or DATA_LOSS names what does
// not fit.
absl::Status DecodeKlt(const KvFrame& frame, std::span<const uint32_t> positions,
                       const KvCacheView& out);

}  // namespace qc2c
