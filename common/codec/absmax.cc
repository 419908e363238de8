#include "common/codec/absmax.h"

#include <limits>

#include "common/codec/absmax_rows.h"
#include "common/codec/vector_clones.h"

namespace qc2c {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The loops over values; the arrays do not overlap, and the step is a constant, which lets them be
// vectorised. Over infinity every value is 0: to choose the divisor vectorises, to choose the code
// does not.
template <size_t kStep>
inline void QuantizeStep(const float* __restrict values, const float* __restrict scales, size_t num,
                         float qmax, uint8_t* __restrict codes) {
  for (size_t d = 0; d < num; ++d) {
    const float scale = scales[d * kStep];
    codes[d] = static_cast<uint8_t>(AbsmaxCode(values[d], scale > 0.0f ? scale : kInfinity, qmax));
  }
}

QC2C_VECTOR_CLONES void QuantizeRow(const float* __restrict values, const ScaleSpan& scales,
                                    size_t num, float qmax, uint8_t* __restrict codes) {
  if (scales.step == 0) {
    QuantizeStep<0>(values, scales.scales, num, qmax, codes);
  } else {
    QuantizeStep<1>(values, scales.scales, num, qmax, codes);
  }
}

// `shift` brings the sign of a code to the top.
template <size_t kStep>
inline void DequantizeStep(const uint8_t* __restrict codes, const float* __restrict scales,
                           size_t num, int shift, float* __restrict values) {
  for (size_t d = 0; d < num; ++d) {
    const int32_t high = static_cast<int32_t>(static_cast<uint32_t>(codes[d]) << shift);
    values[d] = static_cast<float>(high >> shift) * scales[d * kStep];
  }
}

QC2C_VECTOR_CLONES void DequantizeRow(const uint8_t* __restrict codes, const ScaleSpan& scales,
                                      size_t num, int shift, float* __restrict values) {
  if (scales.step == 0) {
    DequantizeStep<0>(codes, scales.scales, num, shift, values);
  } else {
    DequantizeStep<1>(codes, scales.scales, num, shift, values);
  }
}

class AbsmaxScheme final : public ScaledScheme {
 public:
  AbsmaxScheme(Scheme scheme, std::string_view name, int bits)
      : ScaledScheme(scheme, name, bits, AbsmaxRule(bits)) {}

  BlockFaults EncodeBlock(const BlockRows& rows, const Scaling& scaling, MutableByteSpan codes,
                          MutableByteSpan scales) const override {
    return scaling.axis == Axis::kPerToken
               ? EncodeAbsmaxRows(rows, bits_per_value(), scaling.type, codes, scales)
               : ScaledScheme::EncodeBlock(rows, scaling, codes, scales);
  }

 private:
  void Quantize(const float* values, const ScaleSpan& scales, size_t num,
                uint8_t* codes) const override {
    QuantizeRow(values, scales, num, static_cast<float>(MaxCode(bits_per_value())), codes);
  }
  void Dequantize(const uint8_t* codes, const ScaleSpan& scales, size_t num,
                  float* values) const override {
    DequantizeRow(codes, scales, num, 32 - bits_per_value(), values);
  }
};

}  // namespace

float AbsmaxErrorBound(float scale, int qmax, ScaleType type) {
  const float codes = static_cast<float>(qmax);
  return scale > 0.0f ? scale * (0.5f + codes * 0x1p-23f) : codes * MinNormalScale(type);
}

const SchemeCoder* Int8Scheme() {
  static const AbsmaxScheme scheme(Scheme::kInt8, "int8", 8);
  return &scheme;
}

const SchemeCoder* Int4Scheme() {
  static const AbsmaxScheme scheme(Scheme::kInt4, "int4", 4);
  return &scheme;
}

const SchemeCoder* Int3Scheme() {
  static const AbsmaxScheme scheme(Scheme::kInt3, "int3", 3);
  return &scheme;
}

const SchemeCoder* Int2AbsmaxScheme() {
  static const AbsmaxScheme scheme(Scheme::kInt2Absmax, "int2_absmax", 2);
  return &scheme;
}

}  // namespace qc2c
