#include "common/codec/float_scheme.h"

#include <array>
#include <bit>
#include <cstring>

#include "common/codec/fp8.h"
#include "common/codec/rows.h"

namespace qc2c {
namespace {

static_assert(std::endian::native == std::endian::little, "codes are stored as memory holds them");

// How values are stored. Magnitudes from first_overflow on round to infinity: the last finite value
// and half a unit of its last place.
struct FloatFormat {
  size_t bytes;
  uint32_t first_overflow;
  void (*store)(const float* values, size_t num, std::byte* codes);
  void (*load)(const std::byte* codes, size_t num, float* values);
};

template <DType kStored>
constexpr FloatFormat FormatOf(uint32_t first_overflow) {
  return {.bytes = DTypeBytes(kStored),
          .first_overflow = first_overflow,
          .store = [](const float* values, size_t num,
                      std::byte* codes) { StoreRow(kStored, values, num, codes); },
          .load = [](const std::byte* codes, size_t num,
                     float* values) { LoadRow(kStored, codes, num, values); }};
}

template <typename Format>
constexpr FloatFormat FormatOf() {
  return {.bytes = 1,
          .first_overflow = Format::kFirstOverflow,
          .store =
              [](const float* values, size_t num, std::byte* codes) {
                for (size_t i = 0; i < num; ++i) {
                  codes[i] = std::byte{Format::Narrow(std::bit_cast<uint32_t>(values[i]))};
                }
              },
          .load =
              [](const std::byte* codes, size_t num, float* values) {
                for (size_t i = 0; i < num; ++i) {
                  values[i] =
                      std::bit_cast<float>(Format::Widen(std::to_integer<uint8_t>(codes[i])));
                }
              }};
}

class FloatScheme final : public SchemeCoder {
 public:
  FloatScheme(Scheme scheme, std::string_view name, const FloatFormat& format)
      : scheme_(scheme), name_(name), format_(format) {}

  Scheme scheme() const override { return scheme_; }
  std::string_view name() const override { return name_; }
  int bits_per_value() const override { return static_cast<int>(8 * format_.bytes); }
  bool has_scales() const override { return false; }
  size_t RowBytes(int32_t head_dim) const override {
    return static_cast<size_t>(head_dim) * format_.bytes;
  }

  BlockFaults EncodeBlock(const BlockRows& rows, const Scaling&, MutableByteSpan codes,
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
        } else if (max >= format_.first_overflow) {
          faults |= kOutOfRange;
        }
        format_.store(values.data(), rows.head_dim, out);
        out += RowBytes(rows.head_dim);
      }
    }
    return faults;
  }

  void DecodeBlock(ByteSpan codes, ByteSpan, const Scaling&, const BlockRows& rows) const override {
    std::array<float, KvLayout::kMaxHeadDim> values;
    const auto* in = reinterpret_cast<const std::byte*>(codes.data());
    for (size_t i = 0; i < rows.positions.size(); ++i) {
      for (int32_t h = 0; h < rows.num_heads; ++h) {
        format_.load(in, rows.head_dim, values.data());
        StoreRow(rows.dtype, values.data(), rows.head_dim, rows.Row(i, h));
        in += RowBytes(rows.head_dim);
      }
    }
  }

 private:
  const Scheme scheme_;
  const std::string_view name_;
  const FloatFormat format_;
};

}  // namespace

const SchemeCoder* Fp32Scheme() {
  static const FloatScheme scheme(Scheme::kFp32, "fp32", FormatOf<DType::kFp32>(kNotFiniteBits));
  return &scheme;
}

const SchemeCoder* Bf16Scheme() {
  static const FloatScheme scheme(Scheme::kBf16, "bf16", FormatOf<DType::kBf16>(0x7f7f8000u));
  return &scheme;
}

const SchemeCoder* Fp16Scheme() {
  // From 65520 on.
  static const FloatScheme scheme(Scheme::kFp16, "fp16", FormatOf<DType::kFp16>(0x477ff000u));
  return &scheme;
}

const SchemeCoder* Fp8E4m3Scheme() {
  static const FloatScheme scheme(Scheme::kFp8E4m3, "fp8_e4m3", FormatOf<Fp8E4m3>());
  return &scheme;
}

const SchemeCoder* Fp8E5m2Scheme() {
  static const FloatScheme scheme(Scheme::kFp8E5m2, "fp8_e5m2", FormatOf<Fp8E5m2>());
  return &scheme;
}

}  // namespace qc2c
