#include "common/codec/rows.h"

#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <vector>

namespace qc2c {
namespace {

// Every upper half of an fp32, with lower halves that decide the rounding.
std::vector<float> ManyFloats() {
  std::vector<float> values;
  for (uint32_t upper = 0; upper < 1 << 16; ++upper) {
    for (const uint32_t lower : {0x0000u, 0x0001u, 0x0fffu, 0x1000u, 0x1001u, 0x2fffu, 0x3000u,
                                 0x7fffu, 0x8000u, 0x8001u, 0xf000u, 0xffffu}) {
      values.push_back(std::bit_cast<float>(upper << 16 | lower));
    }
  }
  return values;
}

TEST(StoreRowTest, RoundsAsTheConversionsOfOneValue) {
  const std::vector<float> values = ManyFloats();
  std::vector<uint16_t> stored(values.size());
  StoreRow(DType::kFp16, values.data(), values.size(), reinterpret_cast<std::byte*>(stored.data()));
  for (size_t i = 0; i < values.size(); ++i)
    ASSERT_EQ(stored[i], Fp32ToFp16(values[i])) << values[i];
  StoreRow(DType::kBf16, values.data(), values.size(), reinterpret_cast<std::byte*>(stored.data()));
  for (size_t i = 0; i < values.size(); ++i)
    ASSERT_EQ(stored[i], Fp32ToBf16(values[i])) << values[i];
}

TEST(LoadRowsTest, GivesEachRowAndItsLargestMagnitude) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {1.0f, -3.5f, 0.25f, 0.0f, -0.0f, -kInfinity};
  for (const DType dtype : {DType::kFp32, DType::kBf16, DType::kFp16}) {
    std::vector<std::byte> bytes(values.size() * DTypeBytes(dtype));
    StoreRow(dtype, values.data(), values.size(), bytes.data());
    // The second row first.
    const std::byte* const rows[] = {bytes.data() + 3 * DTypeBytes(dtype), bytes.data()};
    std::vector<float> loaded(values.size()), maxima(2);
    LoadRows(dtype, rows, 2, 3, loaded.data(), maxima.data());
    EXPECT_EQ(loaded, (std::vector<float>{0.0f, -0.0f, -kInfinity, 1.0f, -3.5f, 0.25f}));
    EXPECT_EQ(maxima, (std::vector<float>{kInfinity, 3.5f}));
  }
}

}  // namespace
}  // namespace qc2c
