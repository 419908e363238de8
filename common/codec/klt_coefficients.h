// Coefficients of a klt frame <-> bytes: a whole number of steps each, entropy-coded under the
// table that the codebook's sigma and the level's step choose.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/codec/klt_codebook.h"

namespace qc2c {

// Multiples of a step go up to here, so that they are exact in fp32.
inline constexpr int32_t kMaxKltValue = 1 << 24;

// Some components in a row that share a step: the first `num_sent` of `basis`.
struct KltRun {
  const KltBasis* basis = nullptr;
  int step = 0;  // exponent
  size_t num_sent = 0;
};

struct KltBytes {
  std::vector<uint8_t> codes;    // the rANS stream; empty without coefficients
  std::vector<uint8_t> escapes;  // what the tables have no symbol for, as varints
};

// `values` are those of all runs one after another, in -kMaxKltValue .. kMaxKltValue.
absl::StatusOr<KltBytes> EncodeKltValues(const KltCodebook& codebook, std::span<const KltRun> runs,
                                         std::span<const int32_t> values);

// What the symbols of one run cost, in bits: log2(2^14 / frequency) each. Escapes come on top.
double KltSymbolBits(const KltCodebook& codebook, const KltRun& run,
                     std::span<const int32_t> values);

// Safe on untrusted bytes. DATA_LOSS for a stream that no encoder writes: the wrong length, an
// escape that is missing, superfluous, too long, out of range, or that the table has a symbol for.
absl::StatusOr<std::vector<int32_t>> DecodeKltValues(const KltCodebook& codebook,
                                                     std::span<const KltRun> runs, ByteSpan codes,
                                                     ByteSpan escapes);

}  // namespace qc2c
