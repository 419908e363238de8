#include "common/codec/int4.h"

#include "common/codec/absmax.h"

namespace qc2c {
namespace {

constexpr int kMaxCode = 7;

// A nibble, 0 .. 15, as the signed number it stands for.
int8_t SignExtend(int nibble) { return static_cast<int8_t>((nibble ^ 8) - 8); }

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
  void PackRow(const int8_t* __restrict codes, int32_t head_dim,
               uint8_t* __restrict row) const override {
    const int32_t pairs = head_dim / 2;
    for (int32_t i = 0; i < pairs; ++i) {
      row[i] = static_cast<uint8_t>((codes[2 * i] & 0xf) | (codes[2 * i + 1] << 4));
    }
    if (head_dim % 2 != 0) row[pairs] = static_cast<uint8_t>(codes[head_dim - 1] & 0xf);
  }

  void UnpackRow(const uint8_t* __restrict row, int32_t head_dim,
                 int8_t* __restrict codes) const override {
    const int32_t pairs = head_dim / 2;
    for (int32_t i = 0; i < pairs; ++i) {
      codes[2 * i] = SignExtend(row[i] & 0xf);
      codes[2 * i + 1] = SignExtend(row[i] >> 4);
    }
    if (head_dim % 2 != 0) codes[head_dim - 1] = SignExtend(row[pairs] & 0xf);
  }
};

}  // namespace

const SchemeCoder* Int4Scheme() {
  static const Int4 scheme;
  return &scheme;
}

}  // namespace qc2c
