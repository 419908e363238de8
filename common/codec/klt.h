// The scheme klt: a prompt's cache as coefficients of a codebook (klt_codebook.h).
//
// The CPU computes it, whatever device the cache came from: a caller copies the open tensors of a
// cache on a GPU first, and of those only the tokens that the level reads.
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
#include "common/codec/klt_rows.h"

namespace qc2c {

// One prompt's cache, ready to be encoded at any level of the codebook. What a level does not need
// is neither read nor computed, and what one level computed the next one reuses.
// Thread-compatible.
class KltEncoder {
 public:
  // `cache` has the last cache.num_tokens of the prompt's wanted tokens (all, or at least
  // KltCodebook::NumRead of every level that will be asked for), keys as cached, on the CPU. It and
  // the codebook are borrowed. INVALID_ARGUMENT for a prompt that does not fit the codebook's
  // template, another layout, more tokens than the prompt's, or an absent tensor.
  static absl::StatusOr<KltEncoder> Create(const KltCodebook& codebook, const KltPrompt& prompt,
                                           const KvCacheView& cache);

  // frame.model_fingerprint is the codebook's sharer. INVALID_ARGUMENT naming the level if there is
  // none such or the cache has fewer tokens than it reads, the layer, half, token and head of a NaN
  // or infinity, or the coefficient that is beyond kMaxKltValue steps.
  absl::StatusOr<KvFrame> Encode(uint32_t level);

  const KltCodebook& codebook() const { return *codebook_; }

 private:
  // The coefficients of one half of a part's rows `begin` .. `end`: [end - begin, num_components].
  struct Projection {
    size_t begin = 0, end = 0, num_components = 0;
    std::vector<float> coefficients;
  };

  KltEncoder(const KltCodebook& codebook, uint32_t num_tokens, KltRows rows)
      : codebook_(&codebook), num_tokens_(num_tokens), rows_(std::move(rows)) {}

  absl::Status ProjectJoint(const KltPart& part, Projection& projection);
  absl::Status ProjectTokens(const KltPart& first, size_t end, Projection& projection);
  // The coefficients of parts of one source, in their order; `values` gets whole numbers of steps.
  absl::Status AppendParts(std::span<const KltPart> parts, std::vector<int32_t>& values);

  const KltCodebook* codebook_;
  uint32_t num_tokens_;
  KltRows rows_;
  // By source and half.
  std::array<std::array<Projection, 2>, kNumKltSources> projections_;
};

// DecodeCache for such a frame: `out` is on the CPU, of the codebook's layout, and its token i is
// the frame's i-th kept token. `positions` are those of all wanted tokens in what the sharer read:
// keys are rotated there. Safe on untrusted frames: INVALID_ARGUMENT or DATA_LOSS names what does
// not fit.
absl::Status DecodeKlt(const KvFrame& frame, std::span<const uint32_t> positions,
                       const KvCacheView& out);

}  // namespace qc2c
