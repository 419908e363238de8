// The floating-point schemes: a value is stored as that type, rounded to nearest even, without
// scales. A value that would round to infinity is a fault. fp8.h has the two 8-bit types.
//
// Error, before the output's own rounding: half a unit of the last place, 2^-p |x| with p = 24
// (fp32), 8 (bf16), 11 (fp16), 4 (fp8_e4m3), 3 (fp8_e5m2); below the smallest normal number 2^e
// half a unit of its last place, 2^(e - p).
#pragma once

#include "common/codec/scheme.h"

namespace qc2c {

const SchemeCoder* Fp32Scheme();
const SchemeCoder* Bf16Scheme();
const SchemeCoder* Fp16Scheme();
const SchemeCoder* Fp8E4m3Scheme();
const SchemeCoder* Fp8E5m2Scheme();

}  // namespace qc2c
