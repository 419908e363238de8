#include "common/codec/int4.h"

#include "common/codec/absmax.h"

namespace qc2c {
namespace {

constexpr int kMaxCode = 7;

// The low nibble as a signed number.
int32_t SignExtend(uint32_t nibble) { return static_cast<int32_t>(nibble << 28) >> 28; }

class Int4 final : public AbsmaxScheme {
 public:
  Int4() : AbsmaxScheme(kMaxCode) {}

  Scheme scheme() const override { return Scheme::kInt4; }
  std::string_view name() const override { return "int4"; }
  int bits_per_value() const override { return 4; }
  size_t RowBytes(int32_t head_dim) const override {
    return (static_cast<size_t>(head_dim) + 1) / 2;
  }

 private:
  void EncodeRow(const float* values, int32_t head_dim, float scale, uint8_t* row) const override {
    const int32_t pairs = head_dim / 2;
    for (int32_t i = 0; i < pairs; ++i) {
      const int32_t low = AbsmaxCode(values[2 * i], scale, kMaxCode);
      const int32_t high = AbsmaxCode(values[2 * i + 1], scale, kMaxCode);
      row[i] = static_cast<uint8_t>((low & 0xf) | (high << 4));
    }
    if (head_dim % 2 != 0) {
      row[pairs] = static_cast<uint8_t>(AbsmaxCode(values[head_dim - 1], scale, kMaxCode) & 0xf);
    }
  }

  void DecodeRow(const uint8_t* row, int32_t head_dim, float scale, float* values) const override {
    const int32_t pairs = head_dim / 2;
    for (int32_t i = 0; i < pairs; ++i) {
      values[2 * i] = static_cast<float>(SignExtend(row[i])) * scale;
      values[2 * i + 1] = static_cast<float>(SignExtend(row[i] >> 4)) * scale;
    }
    if (head_dim % 2 != 0) {
      values[head_dim - 1] = static_cast<float>(SignExtend(row[pairs])) * scale;
    }
  }
};

}  // namespace

const SchemeCoder* Int4Scheme() {
  static const Int4 scheme;
  return &scheme;
}

}  // namespace qc2c
