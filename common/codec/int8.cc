#include "common/codec/int8.h"

#include <cstring>

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
  void PackRow(const int8_t* codes, int32_t head_dim, uint8_t* row) const override {
    std::memcpy(row, codes, head_dim);
  }

  void UnpackRow(const uint8_t* row, int32_t head_dim, int8_t* codes) const override {
    std::memcpy(codes, row, head_dim);
  }
};

}  // namespace

const SchemeCoder* Int8Scheme() {
  static const Int8 scheme;
  return &scheme;
}

}  // namespace qc2c
