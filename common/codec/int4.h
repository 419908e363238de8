// int4: absmax quantization (absmax.h) with codes -7 .. 7 in two's complement, two a byte: value 2i
// in the low nibble of byte i, value 2i + 1 in the high one. A row of odd D ends with a zero
// nibble. -8 is never written; a decoder reads it as that number.
#pragma once

#include "common/codec/scheme.h"

namespace qc2c {

const SchemeCoder* Int4Scheme();

}  // namespace qc2c
