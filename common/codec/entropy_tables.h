// The frequency tables under which the codes of the ordinary schemes are entropy-coded: a family
// that both sides compute, so that a table travels as its number, one byte. proto/FORMAT.md has the
// formula.
//
// Codes of real caches are peaked at zero and fall off to both sides, between a Laplace and a
// normal distribution, and how fast depends on the tensor and on what shares a scale. So a table
// has a shape (how the fall steepens) and a width, in steps of sqrt(2).
#pragma once

#include <cstdint>
#include <span>

#include "common/codec/codec_enums.h"
#include "common/codec/rans.h"
#include "common/codec/rans_segment.h"

namespace qc2c {

// What the bits of a code mean, and so where the distribution has its middle.
enum class CodeForm : uint8_t {
  kNone,            // a float: not coded
  kTwosComplement,  // the symbol is the code with its sign bit turned: 2^(b-1) stands for 0
  kIndex,           // the symbol is the index of a level: the middle is between two levels
};

CodeForm CodeFormOf(Scheme scheme);

// Tables 1 to kNumEntropyTables (at index 0 ..) for symbols of `bits` bits; each symbol has a
// frequency of at least 1. Built on first use and kept; thread-safe. REQUIRES: bits is 1, 2, 3, 4
// or 8; form is not kNone.
std::span<const RansTable> EntropyTables(CodeForm form, int bits);

// The table under which symbols that occur counts[s] times take the least space; of equally good
// ones the first. Integers only, so that every encoder chooses the same.
struct TableChoice {
  uint32_t number = 0;  // from 1
  uint64_t cost = 0;    // in 2^-kCostBits bits
};
// What each symbol costs under each table, [tables, symbols].
std::span<const uint32_t> EntropyTableCosts(CodeForm form, int bits);
TableChoice BestEntropyTable(CodeForm form, int bits, std::span<const uint32_t> counts);

}  // namespace qc2c
