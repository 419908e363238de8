// The two products of a klt frame, on the CPU in fp32 with a fixed order of summation and without
// fused multiply-add: the same rows give the same bits anywhere.
#pragma once

#include <cstddef>
#include <span>

namespace qc2c {

// out[r, c] = sum over n of basis[c, n] rows[r, n]; rows [num_rows, dim], basis [num_components,
// dim], out [num_rows, num_components]. Sixteen partial sums, n mod 16, added pairwise (i and i +
// 8, then i and i + 4, 2, 1).
void ProjectRows(const float* rows, size_t num_rows, const float* basis, size_t num_components,
                 size_t dim, float* out);

// row[n] += coefficient * vector[n].
void AddScaled(float coefficient, const float* vector, std::span<float> row);

}  // namespace qc2c
