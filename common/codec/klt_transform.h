// The two products of a klt frame, on the CPU in fp32 with a fixed order of summation and without
// fused multiply-add: the same rows give the same bits anywhere, however many others there are.
//
// Both keep sums in vector registers: sixteen components times a few rows of the analysis, which
// passes once for all rows; 64 dimensions of a row of the synthesis, of which only the components
// that are not zero are read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace qc2c {

// A basis [num_components, dim] as ProjectRows reads it: sixteen components side by side,
// [ceil(num_components / 16), dim, 16], zeros behind the last.
std::vector<float> PackComponents(std::span<const float> basis, size_t num_components, size_t dim);

// out[r, c] = sum over n of basis[c, n] rows[r, n], for the first num_components of a packed basis;
// rows [num_rows, dim], out [num_rows, num_components]. A sum is of sums over 256 dimensions each,
// in order.
void ProjectRows(const float* rows, size_t num_rows, const float* packed, size_t num_components,
                 size_t dim, float* out);

// The same as AddTerms reads it: 64 dimensions side by side, [ceil(dim / 64), num_components, 64],
// zeros behind the last.
std::vector<float> PackDimensions(std::span<const float> basis, size_t num_components, size_t dim);

struct KltTerm {
  uint32_t component = 0;
  float coefficient = 0;
};

// row[n] += coefficient * basis[component, n], for one term after another, of a basis packed by
// dimensions; rows [terms.size(), dim]. REQUIRES: component < num_components.
void AddTerms(std::span<const std::vector<KltTerm>> terms, const float* packed,
              size_t num_components, size_t dim, float* rows);

}  // namespace qc2c
