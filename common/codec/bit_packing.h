// Codes of 1 to 8 bits, packed without gaps: code i takes bits i * bits .. (i + 1) * bits - 1 of a
// little-endian string of bits (bit b is bit b % 8 of byte b / 8), and the last byte ends with
// zeros. Eight codes take exactly `bits` bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace qc2c {

constexpr size_t PackedBytes(int bits, size_t num_codes) { return (num_codes * bits + 7) / 8; }

// Packs the low `bits` bits of each code. REQUIRES: bits is 1, 2, 3, 4 or 8; `packed` has room for
// PackedBytes.
void PackCodes(int bits, const uint8_t* codes, size_t num_codes, uint8_t* packed);

// The codes as unsigned numbers.
void UnpackCodes(int bits, const uint8_t* packed, size_t num_codes, uint8_t* codes);

}  // namespace qc2c
