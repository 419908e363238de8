// The schemes with scales: the pass over a block's values that finds the scales (scale_rule.h) for
// any axis, and the one that turns rows into packed codes. A scheme adds its rule, its width and
// how values over scales become codes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/codec/scale_rule.h"
#include "common/codec/scheme.h"

namespace qc2c {

// 2^-14 for fp16 and the rows of two levels, 2^-126 for bf16 and fp32.
float MinNormalScale(ScaleType type);

// The stored scale, widened, of a group of `num` values whose maximum (kAbsmax), sum of magnitudes
// or sum of squares is the finite `total`: 0, a normal number of `type`, or infinity if the group
// cannot be stored.
float ScaleOf(const ScaleRule& rule, float total, uint64_t num, ScaleType type);

// Scales in a frame: little-endian, `index` counts scales. A scale is rounded to nearest even. Not
// for kTwoLevel.
void StoreScale(float scale, ScaleType type, size_t index, MutableByteSpan scales);
float LoadScale(ByteSpan scales, size_t index, ScaleType type);
// Of any type; rows have head_dim values.
float LoadScale(ByteSpan scales, size_t index, const Scaling& scaling, int32_t head_dim);

// The scales of a row: that of value d is scales[d * step], step being 0 (one for all) or 1.
struct ScaleSpan {
  const float* scales;
  size_t step;
};

// The scales of a block by row.
class RowScales {
 public:
  // `scales` may still be written after this for an axis whose scales follow tokens.
  RowScales(const Scaling& scaling, int32_t num_heads, int32_t head_dim, ByteSpan scales);

  // Those of row (token, head), until the next call.
  ScaleSpan Of(size_t token, int32_t head);

 private:
  const Scaling scaling_;
  const int32_t num_heads_;
  const int32_t head_dim_;
  const ByteSpan scales_;
  std::vector<float> shared_;  // widened, where they do not follow tokens
  std::vector<float> row_;     // [D]
};

class ScaledScheme : public SchemeCoder {
 public:
  ScaledScheme(Scheme scheme, std::string_view name, int bits, const ScaleRule& rule)
      : scheme_(scheme), name_(name), bits_(bits), rule_(rule) {}

  Scheme scheme() const final { return scheme_; }
  std::string_view name() const final { return name_; }
  int bits_per_value() const final { return bits_; }
  bool has_scales() const final { return true; }
  size_t RowBytes(int32_t head_dim) const final;

  BlockFaults EncodeBlock(const BlockRows& rows, const Scaling& scaling, MutableByteSpan codes,
                          MutableByteSpan scales) const override;
  void DecodeBlock(ByteSpan codes, ByteSpan scales, const Scaling& scaling,
                   const BlockRows& rows) const final;

 private:
  // Scales are 0 or normal; the low bits_per_value() bits of a code are kept.
  virtual void Quantize(const float* values, const ScaleSpan& scales, size_t num,
                        uint8_t* codes) const = 0;
  // Any codes of that width; any scales.
  virtual void Dequantize(const uint8_t* codes, const ScaleSpan& scales, size_t num,
                          float* values) const = 0;

  const Scheme scheme_;
  const std::string_view name_;
  const int bits_;
  const ScaleRule rule_;
};

}  // namespace qc2c
