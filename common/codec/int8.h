// int8: absmax quantization (absmax.h) with codes -127 .. 127, a byte a value in two's complement.
// -128 is never written; a decoder reads it as that number.
#pragma once

#include "common/codec/scheme.h"

namespace qc2c {

const SchemeCoder* Int8Scheme();

}  // namespace qc2c
