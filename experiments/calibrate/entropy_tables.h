// The entropy tables of a codebook: how often a component of a given spread takes which value.
#pragma once

#include <cstdint>
#include <vector>

namespace qc2c {

// [kKltNumShapes, kKltNumSpreads, kKltNumSymbols] frequencies, each table adding up to 2^kRansBits:
// the integrals of a normal, and of a Laplace density, of standard deviation 2^(spread / 4) steps
// over one step around each value. A value rarer than half a unit has none and is left to the
// escape.
std::vector<int16_t> MakeEntropyTables();

}  // namespace qc2c
