#include "common/codec/klt_transform.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace qc2c {
namespace {

std::vector<float> Random(size_t count) {
  static std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

std::vector<float> Projected(const std::vector<float>& rows, const std::vector<float>& basis,
                             size_t num_components, size_t dim, size_t num_used) {
  const std::vector<float> packed = PackComponents(basis, num_components, dim);
  std::vector<float> out(rows.size() / dim * num_used);
  ProjectRows(rows.data(), rows.size() / dim, packed.data(), num_used, dim, out.data());
  return out;
}

// Rows of every remainder of a tile, components of a whole panel and less, dimensions around a
// block.
TEST(KltTransformTest, AProductIsTheSumOverAllDimensions) {
  for (const size_t dim : {1, 8, 255, 256, 257, 600}) {
    for (const size_t num_rows : {1, 2, 3, 4, 5, 6, 7, 13}) {
      for (const size_t k : {1, 15, 16, 17, 40}) {
        const std::vector<float> rows = Random(num_rows * dim), basis = Random(k * dim);
        const std::vector<float> out = Projected(rows, basis, k, dim, k);
        for (size_t i = 0; i < out.size(); ++i) {
          double exact = 0, magnitude = 0;
          for (size_t n = 0; n < dim; ++n) {
            const double term = double{rows[i / k * dim + n]} * basis[i % k * dim + n];
            exact += term;
            magnitude += std::abs(term);
          }
          // A product and at most 256 + 3 sums are rounded.
          EXPECT_NEAR(out[i], exact, 260 * 0x1p-24 * magnitude)
              << dim << " " << num_rows << " " << k << " at " << i;
        }
      }
    }
  }
}

TEST(KltTransformTest, ARowsBitsDoNotDependOnTheOthers) {
  constexpr size_t kDim = 600, kComponents = 40, kRows = 13;
  const std::vector<float> rows = Random(kRows * kDim), basis = Random(kComponents * kDim);
  const std::vector<float> all = Projected(rows, basis, kComponents, kDim, kComponents);
  for (size_t r = 0; r < kRows; ++r) {
    const std::vector<float> row(rows.begin() + r * kDim, rows.begin() + (r + 1) * kDim);
    for (const size_t used : {size_t{1}, size_t{17}, kComponents}) {
      const std::vector<float> alone = Projected(row, basis, kComponents, kDim, used);
      for (size_t c = 0; c < used; ++c) EXPECT_EQ(alone[c], all[r * kComponents + c]);
    }
  }
}

TEST(KltTransformTest, TermsAreAddedInOrderEachRoundedTwice) {
  constexpr size_t kComponents = 9;
  for (const size_t dim : {1, 63, 64, 65, 200}) {
    const std::vector<float> basis = Random(kComponents * dim);
    const std::vector<float> packed = PackDimensions(basis, kComponents, dim);
    const std::vector<std::vector<KltTerm>> terms = {
        {{0, 0.3f}, {4, -1.7f}, {8, 11.0f}}, {}, {{7, 1e-3f}}};
    std::vector<float> rows = Random(terms.size() * dim), expected = rows;
    AddTerms(terms, packed.data(), kComponents, dim, rows.data());
    for (size_t r = 0; r < terms.size(); ++r) {
      for (const KltTerm& term : terms[r]) {
        for (size_t n = 0; n < dim; ++n) {
          const float product = term.coefficient * basis[term.component * dim + n];
          expected[r * dim + n] += product;
        }
      }
    }
    EXPECT_EQ(rows, expected) << dim;
  }
}

}  // namespace
}  // namespace qc2c
