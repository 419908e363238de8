#include "common/codec/level_scheme.h"

#include <algorithm>
#include <cmath>

#include "common/codec/scaled_scheme.h"
#include "common/codec/vector_clones.h"

namespace qc2c {
namespace {

// Counts one threshold; the arrays do not overlap, and the step is a constant, which lets the loop
// be vectorised.
template <size_t kStep>
inline void CountStep(const float* __restrict values, const float* __restrict scales, size_t num,
                      float threshold, uint8_t* __restrict codes) {
  for (size_t d = 0; d < num; ++d) {
    const int above = values[d] >= threshold * scales[d * kStep] ? 1 : 0;
    codes[d] = static_cast<uint8_t>(codes[d] + above);
  }
}

QC2C_VECTOR_CLONES void CountThreshold(const float* __restrict values, const ScaleSpan& scales,
                                       size_t num, float threshold, uint8_t* __restrict codes) {
  if (scales.step == 0) {
    CountStep<0>(values, scales.scales, num, threshold, codes);
  } else {
    CountStep<1>(values, scales.scales, num, threshold, codes);
  }
}

class LevelScheme final : public ScaledScheme {
 public:
  LevelScheme(Scheme scheme, std::string_view name, const LevelTable& table)
      : ScaledScheme(scheme, name, static_cast<int>(table.bits), table.rule), table_(table) {}

 private:
  void Quantize(const float* values, const ScaleSpan& scales, size_t num,
                uint8_t* codes) const override {
    std::fill(codes, codes + num, uint8_t{0});
    for (uint32_t i = 0; i + 1 < table_.num_levels(); ++i) {
      CountThreshold(values, scales, num, table_.thresholds[i], codes);
    }
    const auto zero = static_cast<uint8_t>(table_.ZeroCode());
    for (size_t d = 0; d < num; ++d) {
      codes[d] = scales.scales[d * scales.step] > 0.0f ? codes[d] : zero;
    }
  }

  void Dequantize(const uint8_t* codes, const ScaleSpan& scales, size_t num,
                  float* values) const override {
    for (size_t d = 0; d < num; ++d) {
      values[d] = table_.levels[codes[d]] * scales.scales[d * scales.step];
    }
  }

  const LevelTable& table_;
};

}  // namespace

float LevelErrorBound(const LevelTable& table, float x, float scale) {
  float gap = 0.0f;
  for (uint32_t i = 0; i + 1 < table.num_levels(); ++i) {
    gap = std::max(gap, table.levels[i + 1] - table.levels[i]);
  }
  const float beyond = std::abs(x) - table.top() * scale;
  return std::max(0.5f * gap * scale, beyond) * (1.0f + 0x1p-21f);
}

const SchemeCoder* Int2Scheme() {
  static const LevelScheme scheme(Scheme::kInt2, "int2", kInt2Levels);
  return &scheme;
}

const SchemeCoder* Int2LloydScheme() {
  static const LevelScheme scheme(Scheme::kInt2Lloyd, "int2_lloyd", kInt2LloydLevels);
  return &scheme;
}

const SchemeCoder* BinaryScheme() {
  static const LevelScheme scheme(Scheme::kBinary, "binary", kBinaryLevels);
  return &scheme;
}

const SchemeCoder* Nf4Scheme() {
  static const LevelScheme scheme(Scheme::kNf4, "nf4", kNf4Levels);
  return &scheme;
}

}  // namespace qc2c
