// One step of rANS (rans.h), as the CPU and a GPU's lanes take it. Free of abseil and of CUDA
// headers. proto/FORMAT.md, section 14, specifies the bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/codec/host_device.h"

namespace qc2c {

inline constexpr int kRansBits = 14;  // the frequencies of a table add up to 2^14
inline constexpr uint32_t kRansSlotMask = (1u << kRansBits) - 1;
// A state is in [kRansLow, 2^32) between symbols.
inline constexpr uint32_t kRansLow = 1u << 16;
inline constexpr uint32_t kRansWordBytes = 2;
inline constexpr uint32_t kRansStateBytes = 4;

// Lanes for a stream of its own of `num_symbols`: 1 below 4,096, 8 below 32,768, else 32. Their
// states stay below 2 % of a stream of two bits a symbol.
QC2C_HOST_DEVICE constexpr int RansLanesFor(size_t num_symbols) {
  return num_symbols < 4096 ? 1 : num_symbols < 32768 ? 8 : 32;
}

// Where an encoder begins and a decoder ends. A lane that is alone starts at 0, which saves two
// bytes: below kRansLow it emits nothing, and the decoder, having read everything, reads nothing.
QC2C_HOST_DEVICE constexpr uint32_t FirstRansState(int num_lanes) {
  return num_lanes == 1 ? 0 : kRansLow;
}

// A symbol's place in its table, in one number. REQUIRES: frequency < 2^14 or start = 0.
QC2C_HOST_DEVICE constexpr uint32_t RansEntry(uint32_t frequency, uint32_t start) {
  return frequency << 16 | start;
}
QC2C_HOST_DEVICE constexpr uint32_t EntryFrequency(uint32_t entry) { return entry >> 16; }
QC2C_HOST_DEVICE constexpr uint32_t EntryStart(uint32_t entry) { return entry & 0xffff; }

// For PushSymbol, in place of a division by the frequency.
QC2C_HOST_DEVICE constexpr uint32_t RansReciprocal(uint32_t frequency) {
  return 0xffffffffu / frequency;
}

// Whether the low half of state x must be emitted before a symbol of this frequency is pushed.
QC2C_HOST_DEVICE constexpr bool EmitsWord(uint32_t x, uint32_t frequency) {
  return x >> (32 - kRansBits) >= frequency;
}

// x with the symbol pushed. With m = floor((2^32 - 1) / f) >= 2^32 / f - 1, x m / 2^32 is less than
// x / f by no more than x / 2^32 < 1: its floor is the quotient or one less.
QC2C_HOST_DEVICE constexpr uint32_t PushSymbol(uint32_t x, uint32_t entry, uint32_t reciprocal) {
  const uint32_t frequency = EntryFrequency(entry);
  uint32_t quotient = static_cast<uint32_t>(static_cast<uint64_t>(x) * reciprocal >> 32);
  uint32_t rest = x - quotient * frequency;
  if (rest >= frequency) {
    ++quotient;
    rest -= frequency;
  }
  return (quotient << kRansBits) + EntryStart(entry) + rest;
}

// x with the symbol of its slot taken off, before it may need a word.
QC2C_HOST_DEVICE constexpr uint32_t PopSymbol(uint32_t x, uint32_t entry) {
  return EntryFrequency(entry) * (x >> kRansBits) + (x & kRansSlotMask) - EntryStart(entry);
}

}  // namespace qc2c
