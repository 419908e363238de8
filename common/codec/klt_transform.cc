#include "common/codec/klt_transform.h"

#include <algorithm>
#include <cstring>

namespace qc2c {
namespace {

constexpr size_t kPanel = 16;   // components side by side
constexpr size_t kBlock = 256;  // dimensions that are summed before they join the total
constexpr size_t kTile = 64;    // dimensions that AddTerms keeps in registers

// Loops over vectors of the type V, for functions that are compiled for a processor that has them.
template <typename V>
struct Vectors {
  static constexpr size_t kLanes = sizeof(V) / sizeof(float);
  static constexpr size_t kWidth = kPanel / kLanes;  // vectors of a panel

  [[gnu::always_inline]] static inline void Load(const float* from, V& to) {
    std::memcpy(&to, from, sizeof(V));
  }
  [[gnu::always_inline]] static inline void Store(const V& from, float* to) {
    std::memcpy(to, &from, sizeof(V));
  }

  // out[r, 0 .. 15] = the products of kRows rows with one panel.
  template <size_t kRows>
  [[gnu::always_inline]] static inline void Project(const float* rows, const float* panel,
                                                    size_t dim, float* out) {
    V totals[kRows][kWidth] = {};
    for (size_t begin = 0; begin < dim; begin += kBlock) {
      const size_t end = std::min(dim, begin + kBlock);
      V sums[kRows][kWidth] = {};
      for (size_t n = begin; n < end; ++n) {
        V components[kWidth];
        for (size_t w = 0; w < kWidth; ++w) {
          Load(panel + n * kPanel + w * kLanes, components[w]);
        }
        for (size_t r = 0; r < kRows; ++r) {
          for (size_t w = 0; w < kWidth; ++w) sums[r][w] += rows[r * dim + n] * components[w];
        }
      }
      for (size_t r = 0; r < kRows; ++r) {
        for (size_t w = 0; w < kWidth; ++w) totals[r][w] += sums[r][w];
      }
    }
    for (size_t r = 0; r < kRows; ++r) {
      for (size_t w = 0; w < kWidth; ++w) Store(totals[r][w], out + r * kPanel + w * kLanes);
    }
  }

  [[gnu::always_inline]] static inline void ProjectSome(size_t num_rows, const float* rows,
                                                        const float* panel, size_t dim,
                                                        float* out) {
    switch (num_rows) {
      case 1:
        return Project<1>(rows, panel, dim, out);
      case 2:
        return Project<2>(rows, panel, dim, out);
      case 3:
        return Project<3>(rows, panel, dim, out);
      case 4:
        return Project<4>(rows, panel, dim, out);
      case 5:
        return Project<5>(rows, panel, dim, out);
      default:
        return Project<6>(rows, panel, dim, out);
    }
  }

  // kTile dimensions of one row.
  [[gnu::always_inline]] static inline void AddTile(std::span<const KltTerm> terms,
                                                    const float* tile, float* row) {
    V sums[kTile / kLanes];
    for (size_t w = 0; w < kTile / kLanes; ++w) Load(row + w * kLanes, sums[w]);
    for (const KltTerm& term : terms) {
      const float* const component = tile + term.component * kTile;
      for (size_t w = 0; w < kTile / kLanes; ++w) {
        V values;
        Load(component + w * kLanes, values);
        sums[w] += term.coefficient * values;
      }
    }
    for (size_t w = 0; w < kTile / kLanes; ++w) Store(sums[w], row + w * kLanes);
  }
};

using V16 = float __attribute__((vector_size(16)));
struct Kernels {
  // Of 1 to 6 rows that lie `dim` apart with one panel; out [num_rows, 16].
  void (*project)(size_t num_rows, const float* rows, const float* panel, size_t dim, float* out);
  // row[n] += coefficient * tile[component, n] for all terms, n < 64.
  void (*add_tile)(std::span<const KltTerm> terms, const float* tile, float* row);
};

constexpr size_t kMaxRows = 6;

void ProjectAny(size_t num_rows, const float* rows, const float* panel, size_t dim, float* out) {
  Vectors<V16>::ProjectSome(num_rows, rows, panel, dim, out);
}
void AddTileAny(std::span<const KltTerm> terms, const float* tile, float* row) {
  Vectors<V16>::AddTile(terms, tile, row);
}

#if defined(__x86_64__)
using V32 = float __attribute__((vector_size(32)));
using V64 = float __attribute__((vector_size(64)));

[[gnu::target("avx2")]] void ProjectAvx2(size_t num_rows, const float* rows, const float* panel,
                                         size_t dim, float* out) {
  Vectors<V32>::ProjectSome(num_rows, rows, panel, dim, out);
}
[[gnu::target("avx2")]] void AddTileAvx2(std::span<const KltTerm> terms, const float* tile,
                                         float* row) {
  Vectors<V32>::AddTile(terms, tile, row);
}
[[gnu::target("avx512f")]] void ProjectAvx512(size_t num_rows, const float* rows,
                                              const float* panel, size_t dim, float* out) {
  Vectors<V64>::ProjectSome(num_rows, rows, panel, dim, out);
}
[[gnu::target("avx512f")]] void AddTileAvx512(std::span<const KltTerm> terms, const float* tile,
                                              float* row) {
  Vectors<V64>::AddTile(terms, tile, row);
}
#endif

// The widest that this processor has. Only the width differs, so that the bits are the same.
Kernels WidestKernels() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") != 0) return {ProjectAvx512, AddTileAvx512};
  if (__builtin_cpu_supports("avx2") != 0) return {ProjectAvx2, AddTileAvx2};
#endif
  return {ProjectAny, AddTileAny};
}

const Kernels& Widest() {
  static const Kernels kernels = WidestKernels();
  return kernels;
}

}  // namespace

std::vector<float> PackComponents(std::span<const float> basis, size_t num_components, size_t dim) {
  std::vector<float> packed((num_components + kPanel - 1) / kPanel * kPanel * dim);
  for (size_t c = 0; c < num_components; ++c) {
    float* const panel = packed.data() + c / kPanel * kPanel * dim + c % kPanel;
    for (size_t n = 0; n < dim; ++n) panel[n * kPanel] = basis[c * dim + n];
  }
  return packed;
}

void ProjectRows(const float* rows, size_t num_rows, const float* packed, size_t num_components,
                 size_t dim, float* out) {
  float products[kMaxRows * kPanel];
  for (size_t c = 0; c < num_components; c += kPanel) {
    const size_t num_sums = std::min(kPanel, num_components - c);
    for (size_t r = 0; r < num_rows; r += kMaxRows) {
      const size_t count = std::min(kMaxRows, num_rows - r);
      Widest().project(count, rows + r * dim, packed + c * dim, dim, products);
      for (size_t i = 0; i < count; ++i) {
        std::copy_n(products + i * kPanel, num_sums, out + (r + i) * num_components + c);
      }
    }
  }
}

std::vector<float> PackDimensions(std::span<const float> basis, size_t num_components, size_t dim) {
  std::vector<float> packed((dim + kTile - 1) / kTile * kTile * num_components);
  for (size_t n = 0; n < dim; n += kTile) {
    float* const tile = packed.data() + n * num_components;
    for (size_t c = 0; c < num_components; ++c) {
      std::copy_n(basis.data() + c * dim + n, std::min(kTile, dim - n), tile + c * kTile);
    }
  }
  return packed;
}

void AddTerms(std::span<const std::vector<KltTerm>> terms, const float* packed,
              size_t num_components, size_t dim, float* rows) {
  // One tile of all components stays in the cache while all rows pass.
  for (size_t n = 0; n < dim; n += kTile) {
    const float* const tile = packed + n * num_components;
    const size_t width = std::min(kTile, dim - n);
    for (size_t r = 0; r < terms.size(); ++r) {
      float* const row = rows + r * dim + n;
      if (width == kTile) {
        Widest().add_tile(terms[r], tile, row);
        continue;
      }
      float whole[kTile] = {};
      std::copy_n(row, width, whole);
      Widest().add_tile(terms[r], tile, whole);
      std::copy_n(whole, width, row);
    }
  }
}

}  // namespace qc2c
