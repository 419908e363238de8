// Rows of a cache <-> fp32, and the magnitude of a row. Loops that any compiler vectorises.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/tensor/dtype.h"

namespace qc2c {

// Reads `num` values of `dtype`; exact. `row` needs no more than the alignment of dtype.
void LoadRow(DType dtype, const std::byte* row, size_t num, float* out);

// Several rows of `num` values each to `out` [num_rows, num], and the largest magnitude of each:
// NaN or infinite if a value is.
void LoadRows(DType dtype, const std::byte* const* rows, size_t num_rows, size_t num, float* out,
              float* maxima);

// Writes `num` values, rounded to nearest even (overflow gives infinity).
void StoreRow(DType dtype, const float* values, size_t num, std::byte* row);

// The largest |x| as the bits of an fp32, which order like the magnitudes. At least kNotFiniteBits
// if any value is NaN or infinite.
inline constexpr uint32_t kNotFiniteBits = 0x7f800000u;
uint32_t MaxMagnitudeBits(const float* values, size_t num);

}  // namespace qc2c
