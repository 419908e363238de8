#include "common/codec/int8.h"

#include "common/codec/absmax.h"

namespace qc2c {
namespace {

constexpr int kMaxCode = 127;

class Int8 final : public AbsmaxScheme {
 public:
  Int8() : AbsmaxScheme(kMaxCode) {}

  Scheme scheme() const override { return Scheme::kInt8; }
  std::string_view name() const override { return "int8"; }
  int bits_per_value() const override { return 8; }
  size_t RowBytes(int32_t head_dim) const override { return static_cast<size_t>(head_dim); }

 private:
  void EncodeRow(const float* values, int32_t head_dim, float scale, uint8_t* row) const override {
    for (int32_t d = 0; d < head_dim; ++d) {
      row[d] = static_cast<uint8_t>(AbsmaxCode(values[d], scale, kMaxCode));
    }
  }

  void DecodeRow(const uint8_t* row, int32_t head_dim, float scale, float* values) const override {
    for (int32_t d = 0; d < head_dim; ++d) {
      values[d] = static_cast<float>(static_cast<int8_t>(row[d])) * scale;
    }
  }
};

}  // namespace

const SchemeCoder* Int8Scheme() {
  static const Int8 scheme;
  return &scheme;
}

}  // namespace qc2c
