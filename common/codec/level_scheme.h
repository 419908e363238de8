// The schemes of levels.h on the CPU.
#pragma once

#include "common/codec/levels.h"
#include "common/codec/scheme.h"

namespace qc2c {

// The largest |x - x^| that levels.h promises for a value x of a group with this stored scale.
float LevelErrorBound(const LevelTable& table, float x, float scale);

const SchemeCoder* Int2Scheme();
const SchemeCoder* Int2LloydScheme();
const SchemeCoder* BinaryScheme();
const SchemeCoder* Nf4Scheme();

}  // namespace qc2c
