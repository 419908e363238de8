#include "common/codec/scaled_scheme.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "common/codec/bit_packing.h"
#include "common/codec/group_statistic.h"
#include "common/codec/rows.h"

namespace qc2c {
namespace {

// The statistic over the divisor, which is what gets rounded.
float RawScale(const ScaleRule& rule, float total, uint64_t num) {
  float scale = total;
  if (rule.statistic != Statistic::kAbsmax) scale = scale / static_cast<float>(num);
  if (rule.statistic == Statistic::kRms) scale = std::sqrt(scale);
  return scale / rule.divisor;
}

using RowBuffer = std::array<float, KvLayout::kMaxHeadDim>;
using CodeBuffer = std::array<uint8_t, KvLayout::kMaxHeadDim>;

// Where the scales of one block go, and what went wrong.
struct ScaleSink {
  const ScaleRule& rule;
  ScaleType type;
  MutableByteSpan scales;
  BlockFaults faults = 0;

  // Stores scale `index`, of a group of `num` values.
  void Store(size_t index, float total, uint64_t num) {
    if (rule.statistic == Statistic::kAbsmax && !std::isfinite(total)) {
      faults |= kNotFinite;
      return;
    }
    const float scale = ScaleOf(rule, total, num, type);
    if (!std::isfinite(scale)) {
      faults |= kOutOfRange;
      return;
    }
    StoreScale(scale, type, index, scales);
  }

  // Stores the two levels of row `row`, whose groups have these raw scales.
  void StoreLevels(size_t row, std::span<const float> raw) {
    float most = 0.0f;
    for (const float scale : raw) most = std::max(most, scale);
    float top = Fp16ToFp32(Fp32ToFp16(most * kRowMargin));
    if (top < MinNormalScale(ScaleType::kTwoLevel)) top = 0.0f;
    if (!std::isfinite(top)) {
      faults |= kOutOfRange;
      return;
    }
    uint8_t* const out = scales.data() + row * (kRowScaleBytes + raw.size());
    const uint16_t bits = Fp32ToFp16(top);
    std::memcpy(out, &bits, sizeof(bits));
    for (size_t g = 0; g < raw.size(); ++g) {
      const float parts = top == 0.0f ? 0.0f : std::ceil(raw[g] * 256.0f / top);
      out[kRowScaleBytes + g] = static_cast<uint8_t>(std::min(parts, 255.0f));
    }
  }

  void CheckFinite(const float* values, size_t num) {
    if (MaxMagnitudeBits(values, num) >= kNotFiniteBits) faults |= kNotFinite;
  }
};

// The scales of one row where they follow tokens.
void StoreScalesOfRow(const float* values, int32_t head_dim, const Scaling& scaling, size_t row,
                      ScaleSink& sink) {
  const size_t num_scales = ScalesOfRow(scaling, head_dim);
  const size_t size = scaling.axis == Axis::kGroup ? scaling.group_size : head_dim;
  const bool two_levels = scaling.type == ScaleType::kTwoLevel;
  std::array<float, KvLayout::kMaxHeadDim> raw;
  for (size_t g = 0; g < num_scales; ++g) {
    const size_t num = std::min(size, head_dim - g * size);
    const float total = RowStatistic(sink.rule.statistic, values + g * size, num);
    raw[g] = RawScale(sink.rule, total, num);
    if (!two_levels) {
      sink.Store(row * num_scales + g, total, num);
    } else if (!std::isfinite(raw[g])) {
      sink.faults |= sink.rule.statistic == Statistic::kAbsmax ? kNotFinite : kOutOfRange;
    }
  }
  if (two_levels && sink.faults == 0) sink.StoreLevels(row, std::span(raw).first(num_scales));
}

// per_head and per_layer.
void StoreScalesOverRows(const BlockRows& rows, Axis axis, ScaleSink& sink) {
  const bool per_head = axis == Axis::kPerHead;
  std::vector<RowsStatistic> groups(per_head ? rows.num_heads : 1,
                                    RowsStatistic(sink.rule.statistic));
  RowBuffer values;
  for (size_t i = 0; i < rows.positions.size(); ++i) {
    for (int32_t h = 0; h < rows.num_heads; ++h) {
      LoadRow(rows.dtype, rows.Row(i, h), rows.head_dim, values.data());
      sink.CheckFinite(values.data(), rows.head_dim);
      groups[per_head ? h : 0].AddRow(
          RowStatistic(sink.rule.statistic, values.data(), rows.head_dim));
    }
  }
  const uint64_t num_values =
      uint64_t{rows.positions.size()} * rows.head_dim * (per_head ? 1 : rows.num_heads);
  for (size_t g = 0; g < groups.size(); ++g) sink.Store(g, groups[g].Total(), num_values);
}

// per_channel, or one of the groups of tokens: scales from `first` on.
void StoreScalesOfChannels(const BlockRows& rows, size_t first, ScaleSink& sink) {
  const size_t num_channels = static_cast<size_t>(rows.num_heads) * rows.head_dim;
  ChannelsStatistic channels(sink.rule.statistic, num_channels);
  RowBuffer values;
  for (size_t i = 0; i < rows.positions.size(); ++i) {
    for (int32_t h = 0; h < rows.num_heads; ++h) {
      LoadRow(rows.dtype, rows.Row(i, h), rows.head_dim, values.data());
      sink.CheckFinite(values.data(), rows.head_dim);
      channels.AddRow(i, static_cast<size_t>(h) * rows.head_dim, values.data(), rows.head_dim);
    }
  }
  for (size_t c = 0; c < num_channels; ++c) {
    sink.Store(first + c, channels.Total(c), rows.positions.size());
  }
}

void StoreScalesOfTokenGroups(const BlockRows& rows, size_t group_size, ScaleSink& sink) {
  const size_t num_channels = static_cast<size_t>(rows.num_heads) * rows.head_dim;
  const size_t num_tokens = rows.positions.size();
  for (size_t first = 0; first < num_tokens; first += group_size) {
    BlockRows group = rows;
    group.positions = rows.positions.subspan(first, std::min(group_size, num_tokens - first));
    StoreScalesOfChannels(group, first / group_size * num_channels, sink);
  }
}

void StoreSharedScales(const BlockRows& rows, const Scaling& scaling, ScaleSink& sink) {
  if (scaling.axis == Axis::kPerChannel) return StoreScalesOfChannels(rows, 0, sink);
  if (scaling.axis == Axis::kGroupTokens) {
    return StoreScalesOfTokenGroups(rows, scaling.group_size, sink);
  }
  StoreScalesOverRows(rows, scaling.axis, sink);
}

}  // namespace

float MinNormalScale(ScaleType type) {
  const bool is_fp16 = type == ScaleType::kFp16 || type == ScaleType::kTwoLevel;
  return is_fp16 ? 0x1p-14f : std::numeric_limits<float>::min();
}

float ScaleOf(const ScaleRule& rule, float total, uint64_t num, ScaleType type) {
  float scale = RawScale(rule, total, num);
  if (type == ScaleType::kFp16) scale = Fp16ToFp32(Fp32ToFp16(scale));
  if (type == ScaleType::kBf16) scale = Bf16ToFp32(Fp32ToBf16(scale));
  if (scale < MinNormalScale(type)) return 0.0f;
  // A scale that was rounded up near FLT_MAX would decode to infinity.
  const float largest = scale * rule.top;
  return std::isinf(largest) ? largest : scale;
}

void StoreScale(float scale, ScaleType type, size_t index, MutableByteSpan scales) {
  uint8_t* const out = scales.data() + index * ScaleBytes(type);
  if (type == ScaleType::kFp32) {
    std::memcpy(out, &scale, sizeof(scale));
    return;
  }
  const uint16_t bits = type == ScaleType::kFp16 ? Fp32ToFp16(scale) : Fp32ToBf16(scale);
  std::memcpy(out, &bits, sizeof(bits));
}

float LoadScale(ByteSpan scales, size_t index, ScaleType type) {
  const uint8_t* const in = scales.data() + index * ScaleBytes(type);
  if (type == ScaleType::kFp32) {
    float scale;
    std::memcpy(&scale, in, sizeof(scale));
    return scale;
  }
  uint16_t bits;
  std::memcpy(&bits, in, sizeof(bits));
  return type == ScaleType::kFp16 ? Fp16ToFp32(bits) : Bf16ToFp32(bits);
}

float LoadScale(ByteSpan scales, size_t index, const Scaling& scaling, int32_t head_dim) {
  if (scaling.type != ScaleType::kTwoLevel) return LoadScale(scales, index, scaling.type);
  const size_t num_groups = ScalesOfRow(scaling, head_dim);
  const ByteSpan row = scales.subspan(index / num_groups * (kRowScaleBytes + num_groups));
  const float part = row[kRowScaleBytes + index % num_groups] * 0x1p-8f;
  return LoadScale(row, 0, ScaleType::kFp16) * part;
}

RowScales::RowScales(const Scaling& scaling, int32_t num_heads, int32_t head_dim, ByteSpan scales)
    : scaling_(scaling),
      num_heads_(num_heads),
      head_dim_(head_dim),
      scales_(scales),
      row_(head_dim) {
  if (ScalesFollowTokens(scaling.axis)) return;
  shared_.resize(scales.size() / ScaleBytes(scaling.type));
  for (size_t i = 0; i < shared_.size(); ++i) shared_[i] = LoadScale(scales, i, scaling.type);
}

ScaleSpan RowScales::Of(size_t token, int32_t head) {
  const size_t first = ScaleIndex(scaling_, token, head, 0, num_heads_, head_dim_);
  switch (scaling_.axis) {
    case Axis::kPerChannel:
    case Axis::kGroupTokens:
      return {shared_.data() + first, 1};
    case Axis::kGroup:
      for (int32_t d = 0; d < head_dim_; d += static_cast<int32_t>(scaling_.group_size)) {
        const int32_t end = std::min<int32_t>(d + scaling_.group_size, head_dim_);
        std::fill(row_.begin() + d, row_.begin() + end,
                  LoadScale(scales_, first + d / scaling_.group_size, scaling_, head_dim_));
      }
      return {row_.data(), 1};
    case Axis::kPerToken:
      row_[0] = LoadScale(scales_, first, scaling_.type);
      return {row_.data(), 0};
    default:
      return {shared_.data() + first, 0};
  }
}

size_t ScaledScheme::RowBytes(int32_t head_dim) const { return PackedBytes(bits_, head_dim); }

BlockFaults ScaledScheme::EncodeBlock(const BlockRows& rows, const Scaling& scaling,
                                      MutableByteSpan codes, MutableByteSpan scales) const {
  ScaleSink sink = {.rule = rule_, .type = scaling.type, .scales = scales};
  const bool follow = ScalesFollowTokens(scaling.axis);
  if (!follow) {
    StoreSharedScales(rows, scaling, sink);
    if (sink.faults != 0) return sink.faults;
  }
  RowScales row_scales(scaling, rows.num_heads, rows.head_dim, scales);
  RowBuffer values;
  CodeBuffer row_codes;
  const size_t row_bytes = RowBytes(rows.head_dim);
  uint8_t* out = codes.data();
  for (size_t i = 0; i < rows.positions.size(); ++i) {
    for (int32_t h = 0; h < rows.num_heads; ++h, out += row_bytes) {
      LoadRow(rows.dtype, rows.Row(i, h), rows.head_dim, values.data());
      if (follow) {
        // A maximum shows by itself what is not finite.
        if (rule_.statistic != Statistic::kAbsmax) sink.CheckFinite(values.data(), rows.head_dim);
        StoreScalesOfRow(values.data(), rows.head_dim, scaling, i * rows.num_heads + h, sink);
      }
      Quantize(values.data(), row_scales.Of(i, h), rows.head_dim, row_codes.data());
      PackCodes(bits_, row_codes.data(), rows.head_dim, out);
    }
  }
  return sink.faults;
}

void ScaledScheme::DecodeBlock(ByteSpan codes, ByteSpan scales, const Scaling& scaling,
                               const BlockRows& rows) const {
  RowScales row_scales(scaling, rows.num_heads, rows.head_dim, scales);
  RowBuffer values;
  CodeBuffer row_codes;
  const uint8_t* in = codes.data();
  for (size_t i = 0; i < rows.positions.size(); ++i) {
    for (int32_t h = 0; h < rows.num_heads; ++h, in += RowBytes(rows.head_dim)) {
      UnpackCodes(bits_, in, rows.head_dim, row_codes.data());
      Dequantize(row_codes.data(), row_scales.Of(i, h), rows.head_dim, values.data());
      StoreRow(rows.dtype, values.data(), rows.head_dim, rows.Row(i, h));
    }
  }
}

}  // namespace qc2c
