// The codebook of the scheme klt: what a sharer and a receiver agree on before the first question,
// so that a question's cache is a few coefficients. `qc2c calibrate` makes it from prompts, the
// sharer and the fuser; proto/FORMAT.md specifies the file.
//
// A cache is split into the tokens of the template's prefix (exact, from here), its tail (R tokens)
// and what is between (the middle). Of each of the last two the codebook has a mean and a basis,
// keys and values apart; a row is what one token has in all open tensors, keys un-rotated:
//   c = analysis (x - mean)      x' = mean + sum over c of c' synthesis
// The bases are Karhunen-Loeve transforms over layers in the metric of the fuser's first matrix, so
// that one step for all components makes the least error there. `joint` is a basis of the last
// tokens of the tail together.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/codec/klt_template.h"
#include "common/codec/layer_set.h"
#include "common/codec/rans.h"
#include "common/codec/rotary.h"
#include "common/tensor/kv_cache_view.h"

namespace qc2c {

// Steps and standard deviations are powers of 2^(1/4), named by their exponent: sigma / step is
// 2^(spread / 4) with a whole number, which chooses an entropy table.
inline constexpr int kKltMinSpread = -12;  // below, a component is not sent
inline constexpr int kKltMaxSpread = 16;   // above, the lowest bits travel apart, as they are
inline constexpr int kKltNumSpreads = kKltMaxSpread - kKltMinSpread + 1;
inline constexpr int kKltMaxLowBits = 8;
// A component's sigma may be so far above the step that it is coded with: beyond, there are no
// tables.
inline constexpr int kKltReach = kKltMaxSpread + 4 * kKltMaxLowBits;
inline constexpr int kKltNumShapes = 2;  // normal, Laplace
// Symbols of a table: value -63 .. 63 as 0 .. 126, then the escape.
inline constexpr int kKltLargestValue = 63;
inline constexpr uint8_t kKltEscape = 127;
inline constexpr int kKltNumSymbols = 128;

// 2^(exponent / 4), the same bits everywhere.
float KltPower(int exponent);

struct KltBasis {
  size_t dim = 0;
  std::vector<float> analysis;   // [k, dim] as PackComponents has it
  std::vector<float> synthesis;  // [k, dim] as PackDimensions has it
  std::vector<int16_t> sigma;    // [k] exponents, not ascending
  std::vector<uint8_t> shape;    // [k] which family of tables, below kKltNumShapes

  size_t size() const { return sigma.size(); }
  // The first so many components are sent at a step.
  size_t NumSent(int step) const;
};

// An operating point. A part without a step stays at its mean.
struct KltLevel {
  uint32_t last_tokens = 0;  // only so many of the tail's tokens are decoded; 0: all tokens
  std::optional<int> middle_step;
  std::optional<int> tail_step;   // of the tail's tokens that are not coded jointly
  std::optional<int> joint_step;  // of the last joint_tokens together

  bool operator==(const KltLevel&) const = default;
};

struct KltCodebook {
  uint64_t id = 0;  // XXH3 of the file
  std::string sharer_model;
  uint64_t sharer_fingerprint = 0;
  uint64_t fuser_fingerprint = 0;
  KvLayout layout;    // of the sharer's whole cache
  KvLayerSet layers;  // of the open tensors
  KeyRotation rotation;
  KltTemplate prompt_template;
  uint32_t joint_tokens = 0;
  std::vector<KltLevel> levels;  // of ascending fidelity
  // By Half.
  std::array<std::vector<float>, 2> prefix;       // [P, Dim]: keys as cached, rotated
  std::array<std::vector<float>, 2> middle_mean;  // [Dim]
  std::array<std::vector<float>, 2> tail_mean;    // [R, Dim]
  std::array<KltBasis, 2> middle;
  std::array<KltBasis, 2> tail;
  KltBasis joint;  // dim: joint_tokens x (Dim(key) + Dim(value)), a token's keys before its values
  // [shape, spread], then uniform ones of 1 .. kKltMaxLowBits bits.
  std::vector<RansTable> tables;

  // Values of a token in the open tensors of a half: tensors x H x D.
  size_t Dim(Half half) const;
  // INVALID_ARGUMENT naming the level and what there is.
  absl::Status CheckLevel(uint32_t level) const;
  // How many of the last wanted tokens an encoder reads for this level, of T. REQUIRES: as below.
  size_t NumRead(const KltLevel& level, size_t num_tokens) const;
  // The tokens, of T wanted ones, that a frame of this level has. REQUIRES: T as the template says.
  std::vector<uint32_t> KeptTokens(const KltLevel& level, uint32_t num_tokens) const;

  // INVALID_ARGUMENT or DATA_LOSS naming `file`, the field or tensor and what was expected: a
  // reader of a wrong codebook would decode nonsense, so that nothing is taken on trust.
  static absl::StatusOr<KltCodebook> Parse(ByteSpan content, const std::string& file);
  static absl::StatusOr<KltCodebook> Load(const std::filesystem::path& path);
};

}  // namespace qc2c
