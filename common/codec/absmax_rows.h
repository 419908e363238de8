// Absmax quantization of rows that have a scale each (Axis::kPerToken), several rows at a time on
// the CPU: absmax.h's codes and scale_rule.h's scales, to the bit.
#pragma once

#include "common/base/bytes.h"
#include "common/codec/scheme.h"

namespace qc2c {

// Codes of `bits` bits (8, 4, 3 or 2) to `codes` [tokens, H, PackedBytes], scales to `scales`
// [tokens, H]. `type` is kFp32, kFp16 or kBf16. After a fault both are arbitrary.
BlockFaults EncodeAbsmaxRows(const BlockRows& rows, int bits, ScaleType type, MutableByteSpan codes,
                             MutableByteSpan scales);

}  // namespace qc2c
