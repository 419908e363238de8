#include "common/codec/float_scheme.h"

#include <array>
#include <bit>
#include <cstring>

#include "common/codec/rows.h"

namespace qc2c {
namespace {

static_assert(std::endian::native == std::endian::little, "codes are stored as memory holds them");

// Magnitudes from here on round to infinity: the last finite value and half a unit of its last
// place.
uint32_t FirstOverflow(DType stored) {
  switch (stored) {
    case DType::kFp32:
      break;
    case DType::kBf16:
      return 0x7f7f8000u;
    case DType::kFp16:
      return 0x477ff000u;  // 65520
  }
  return kNotFiniteBits;
}

class FloatScheme final : public SchemeCoder {
 public:
  FloatScheme(Scheme scheme, DType stored) : scheme_(scheme), stored_(stored) {}

  Scheme scheme() const override { return scheme_; }
  std::string_view name() const override { return DTypeName(stored_); }
  int bits_per_value() const override { return 8 * DTypeBytes(stored_); }
  bool has_scales() const override { return false; }
  size_t RowBytes(int32_t head_dim) const override {
    return static_cast<size_t>(head_dim) * DTypeBytes(stored_);
  }

  BlockFaults EncodeBlock(const BlockRows& rows, Axis, ScaleType, MutableByteSpan codes,
                          MutableByteSpan) const override {
    std::array<float, KvLayout::kMaxHeadDim> values;
    BlockFaults faults = 0;
    auto* out = reinterpret_cast<std::byte*>(codes.data());
    for (size_t i = 0; i < rows.positions.size(); ++i) {
      for (int32_t h = 0; h < rows.num_heads; ++h) {
        LoadRow(rows.dtype, rows.Row(i, h), rows.head_dim, values.data());
        const uint32_t max = MaxMagnitudeBits(values.data(), rows.head_dim);
        if (max >= kNotFiniteBits) {
          faults |= kNotFinite;
        } else if (max >= FirstOverflow(stored_)) {
          faults |= kOutOfRange;
        }
        StoreRow(stored_, values.data(), rows.head_dim, out);
        out += RowBytes(rows.head_dim);
      }
    }
    return faults;
  }

  void DecodeBlock(ByteSpan codes, ByteSpan, Axis, ScaleType,
                   const BlockRows& rows) const override {
    std::array<float, KvLayout::kMaxHeadDim> values;
    const auto* in = reinterpret_cast<const std::byte*>(codes.data());
    for (size_t i = 0; i < rows.positions.size(); ++i) {
      for (int32_t h = 0; h < rows.num_heads; ++h) {
        LoadRow(stored_, in, rows.head_dim, values.data());
        StoreRow(rows.dtype, values.data(), rows.head_dim, rows.Row(i, h));
        in += RowBytes(rows.head_dim);
      }
    }
  }

 private:
  Scheme scheme_;
  DType stored_;
};

}  // namespace

const SchemeCoder* Fp32Scheme() {
  static const FloatScheme scheme(Scheme::kFp32, DType::kFp32);
  return &scheme;
}

const SchemeCoder* Bf16Scheme() {
  static const FloatScheme scheme(Scheme::kBf16, DType::kBf16);
  return &scheme;
}

const SchemeCoder* Fp16Scheme() {
  static const FloatScheme scheme(Scheme::kFp16, DType::kFp16);
  return &scheme;
}

}  // namespace qc2c
