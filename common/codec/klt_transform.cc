#include "common/codec/klt_transform.h"

#include <algorithm>

#include "common/codec/vector_clones.h"

namespace qc2c {
namespace {

constexpr size_t kLanes = 16;
constexpr size_t kRows = 4;  // whose products with one component are made together

float SumOfLanes(float* lanes) {
  for (size_t width = kLanes / 2; width > 0; width /= 2) {
    for (size_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

// The products of `component` with kRows rows that lie `dim` apart.
QC2C_VECTOR_CLONES void Dot4(const float* component, const float* rows, size_t dim, float* out,
                             size_t out_stride) {
  float sums[kRows][kLanes] = {};
  const float *r0 = rows, *r1 = rows + dim, *r2 = rows + 2 * dim, *r3 = rows + 3 * dim;
  size_t n = 0;
  for (; n + kLanes <= dim; n += kLanes) {
    for (size_t i = 0; i < kLanes; ++i) sums[0][i] += component[n + i] * r0[n + i];
    for (size_t i = 0; i < kLanes; ++i) sums[1][i] += component[n + i] * r1[n + i];
    for (size_t i = 0; i < kLanes; ++i) sums[2][i] += component[n + i] * r2[n + i];
    for (size_t i = 0; i < kLanes; ++i) sums[3][i] += component[n + i] * r3[n + i];
  }
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t i = 0; n + i < dim; ++i) sums[r][i] += component[n + i] * rows[r * dim + n + i];
    out[r * out_stride] = SumOfLanes(sums[r]);
  }
}

QC2C_VECTOR_CLONES float Dot(const float* component, const float* row, size_t dim) {
  float sums[kLanes] = {};
  size_t n = 0;
  for (; n + kLanes <= dim; n += kLanes) {
    for (size_t i = 0; i < kLanes; ++i) sums[i] += component[n + i] * row[n + i];
  }
  for (size_t i = 0; n + i < dim; ++i) sums[i] += component[n + i] * row[n + i];
  return SumOfLanes(sums);
}

QC2C_VECTOR_CLONES void AddScaledRow(float coefficient, const float* vector, size_t size,
                                     float* row) {
  for (size_t n = 0; n < size; ++n) row[n] += coefficient * vector[n];
}

}  // namespace

void ProjectRows(const float* rows, size_t num_rows, const float* basis, size_t num_components,
                 size_t dim, float* out) {
  // Four rows stay in the nearest cache while all components pass.
  size_t r = 0;
  for (; r + kRows <= num_rows; r += kRows) {
    for (size_t c = 0; c < num_components; ++c) {
      Dot4(basis + c * dim, rows + r * dim, dim, out + r * num_components + c, num_components);
    }
  }
  for (; r < num_rows; ++r) {
    for (size_t c = 0; c < num_components; ++c) {
      out[r * num_components + c] = Dot(basis + c * dim, rows + r * dim, dim);
    }
  }
}

void AddScaled(float coefficient, const float* vector, std::span<float> row) {
  AddScaledRow(coefficient, vector, row.size(), row.data());
}

}  // namespace qc2c
