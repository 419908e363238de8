// fp32, bf16 and fp16: a value is stored as it is, little-endian, rounded to nearest even where the
// cache holds more. No scales. Error: |x - x^| <= 2^-p |x| (p = 24, 8, 11 bits) or, below the
// smallest normal number, half a unit of the last place; none if the cache's dtype is the scheme's.
// A value that is finite and rounds to infinity (fp16 above 65504) is refused as out of range.
#pragma once

#include "common/codec/scheme.h"

namespace qc2c {

const SchemeCoder* Fp32Scheme();
const SchemeCoder* Bf16Scheme();
const SchemeCoder* Fp16Scheme();

}  // namespace qc2c
