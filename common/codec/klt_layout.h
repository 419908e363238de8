// Which coefficients a klt frame has, in which order: what encoder and decoder share.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/codec/klt_codebook.h"
#include "common/codec/klt_coefficients.h"

namespace qc2c {

// Coefficients of one row: a token's keys or values, or the joint row of the last tokens.
struct KltPart {
  enum class Source { kMiddle, kTail, kJoint } source = Source::kMiddle;
  Half half = Half::kKey;  // not of kJoint
  size_t row = 0;          // among the tokens behind the prefix; of kJoint the first of its tokens
  KltRun run;
};

inline constexpr size_t kNumKltSources = 3;

// The joint row; then the middle's tokens, each its keys before its values; then the tail's that
// are neither in the joint row nor left out. REQUIRES: num_tokens as the template says.
std::vector<KltPart> PartsOf(const KltCodebook& codebook, const KltLevel& level,
                             uint32_t num_tokens);

// The parts of each source, which lie together.
std::vector<std::span<const KltPart>> BySource(std::span<const KltPart> parts);

std::vector<KltRun> RunsOf(const std::vector<KltPart>& parts);

}  // namespace qc2c
