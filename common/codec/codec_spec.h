// What a codec is: which tokens, at which precision, in which text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/codec/codec_enums.h"
#include "common/codec/precision_schedule.h"
#include "common/codec/treatment_spec.h"

namespace qc2c {

inline constexpr Axis kAllAxes[] = {Axis::kPerToken,   Axis::kPerHead, Axis::kPerLayer,
                                    Axis::kPerChannel, Axis::kGroup,   Axis::kGroupTokens};
inline constexpr ScaleType kAllScaleTypes[] = {ScaleType::kFp16, ScaleType::kBf16, ScaleType::kFp32,
                                               ScaleType::kTwoLevel};
inline constexpr Selection kAllSelections[] = {
    Selection::kAll,           Selection::kFront,        Selection::kBack,
    Selection::kStrided,       Selection::kRandom,       Selection::kSinks,
    Selection::kKeyNorm,       Selection::kValueNorm,    Selection::kAttention,
    Selection::kProjectedNorm, Selection::kResidualNorm,
};

inline constexpr IndexSets kAllIndexSets[] = {IndexSets::kOne, IndexSets::kPerLayer};

inline constexpr Entropy kAllEntropies[] = {Entropy::kNone, Entropy::kRans, Entropy::kZstd};

std::string_view SchemeName(Scheme scheme);
std::string_view AxisName(Axis axis);
std::string_view ScaleTypeName(ScaleType type);
std::string_view SelectionName(Selection selection);
std::string_view IndexSetsName(IndexSets sets);
std::string_view EntropyName(Entropy entropy);

// How many tokens a selection keeps: a ratio in (0, 1] or a count of at least 1.
using Keep = std::variant<float, uint32_t>;

// What the scheme klt is told beside its name.
struct KltChoice {
  uint64_t codebook =
      0;  // its id; 0: the only one that both sides hold, which the receiver fills in
  // One of the two: an operating point of the codebook, or the best that is no larger on the wire,
  // header and trailer included.
  std::optional<uint32_t> level;
  uint32_t budget_bytes = 0;
  // What is sent of a prompt that does not fit the codebook's template: this scheme with its
  // defaults. Absent: such a prompt is refused. Decided by the receiver; no frame has it.
  std::optional<Scheme> fallback;

  bool operator==(const KltChoice&) const = default;
};

struct CodecSpec {
  Scheme scheme = Scheme::kInt8;
  Axis axis = Axis::kPerToken;              // kNone for the float schemes
  ScaleType scale_type = ScaleType::kFp16;  // kNone for the float schemes; kTwoLevel with kGroup
  uint32_t group_size = 0;                  // G for kGroup, kGroupTokens: 8, 16, 32 or 64; else 0
  Selection selection = Selection::kAll;
  std::optional<Keep> keep;      // absent for kAll, present for the others
  uint32_t keep_tokens_min = 0;  // beside a ratio: at least so many tokens; 0: no such wish
  uint32_t sinks = 0;            // for kSinks: tokens of the front, at least 1; else 0
  uint32_t seed = 0;             // for kRandom; else 0
  uint32_t window = 0;  // for kAttention: how many of the last tokens attend, at least 1; else 0
  uint32_t pool = 0;    // for kAttention: an odd number of neighbours that share; else 0
  IndexSets index_sets = IndexSets::kOne;  // kPerLayer for a selection by scores alone, no budget
  Entropy entropy = Entropy::kNone;        // kRans not for the float schemes
  PrecisionSchedule schedule;              // tensors whose precision is another
  // Not 0: a request that PlanBudget (budget.h) resolves to a codec whose frames have at most so
  // many bytes on the wire. It has no keep and no schedule; `scheme` is the widest that any tensor
  // may get, and the selection (value_norm unless the text says another) the order of the tokens.
  uint64_t budget_bytes = 0;
  uint64_t weights = 0;  // with a budget: the id of a file of sensitivities (sensitivity.h); or 0
  TreatmentSpec treatment;       // of the values before they are quantized
  std::optional<KltChoice> klt;  // for Scheme::kKlt, which has none of the above; else absent

  static constexpr uint32_t kDefaultGroupSize = 32;
  static constexpr uint32_t kDefaultSinks = 4;
  static constexpr uint32_t kDefaultWindow = 8;
  static constexpr uint32_t kMaxWindow = 1024;
  static constexpr uint32_t kDefaultPool = 5;
  static constexpr uint32_t kMaxPool = 63;

  static CodecSpec Klt(const KltChoice& choice);
  // "SCHEME[,key=value]...": keys axis, group, scale, select, keep_ratio, keep_tokens,
  // keep_tokens_min, sinks, seed, window, pool, indices, entropy, keys, values, budget_bytes,
  // weights and those of treatment_spec.h, as on the command line. Defaults: axis per_token, group
  // 32, scale fp16, select all, sinks 4, seed 0, window 8, pool 5, indices one, entropy none. Of
  // klt: codebook (16 hexadecimal digits), level, budget_bytes. INVALID_ARGUMENT naming the key,
  // the value and what was expected.
  static absl::StatusOr<CodecSpec> Parse(std::string_view text);
  // The canonical text: Parse(ToString()) gives the same spec; equal specs give equal texts.
  std::string ToString() const;
  // INVALID_ARGUMENT naming the field and its range.
  absl::Status Validate() const;
  // min(keep_tokens, num_tokens), or of a ratio max(1, floor(keep_ratio * num_tokens + 0.5)), the
  // product rounded to fp32, raised to keep_tokens_min as far as there are tokens; with a budget,
  // all: so many it may be. REQUIRES: valid.
  uint32_t NumKept(uint32_t num_tokens) const;
  Scaling scaling() const { return {axis, scale_type, group_size}; }
  // Whether scales have zero points beside them: not for a tensor without scales or with those of
  // two levels.
  bool HasZeroPoints() const {
    return treatment.zero_point != ZeroPoint::kNone && axis != Axis::kNone &&
           scale_type != ScaleType::kTwoLevel;
  }
  Precision precision() const { return {scheme, axis, scale_type, group_size}; }
  // This codec with another precision and no schedule.
  CodecSpec With(const Precision& precision) const;
  // What one tensor gets: a codec without a schedule. REQUIRES: valid, and the schedule sends it.
  CodecSpec Of(int32_t layer, Half half) const;

  bool operator==(const CodecSpec&) const = default;
};

}  // namespace qc2c
