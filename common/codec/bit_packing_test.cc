#include "common/codec/bit_packing.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

namespace qc2c {
namespace {

// The definition, bit by bit.
std::vector<uint8_t> BitString(int bits, const std::vector<uint8_t>& codes) {
  std::vector<uint8_t> packed((codes.size() * bits + 7) / 8, 0);
  for (size_t i = 0; i < codes.size(); ++i) {
    for (int b = 0; b < bits; ++b) {
      const size_t bit = i * bits + b;
      packed[bit / 8] = static_cast<uint8_t>(packed[bit / 8] | (codes[i] >> b & 1) << bit % 8);
    }
  }
  return packed;
}

TEST(BitPackingTest, EveryWidthAndLengthIsTheStringOfItsBitsAndComesBack) {
  std::mt19937 random(1);
  for (const int bits : {1, 2, 3, 4, 8}) {
    for (size_t num = 1; num <= 70; ++num) {
      std::vector<uint8_t> codes(num);
      for (uint8_t& code : codes) code = static_cast<uint8_t>(random());  // high bits are ignored
      const std::vector<uint8_t> expected = BitString(bits, codes);
      ASSERT_EQ(PackedBytes(bits, num), expected.size());
      // Of the exact size, so that a sanitizer sees a byte too many.
      const auto packed = std::make_unique<uint8_t[]>(expected.size());
      PackCodes(bits, codes.data(), num, packed.get());
      ASSERT_EQ(std::vector(packed.get(), packed.get() + expected.size()), expected)
          << bits << " bits, " << num;
      const auto unpacked = std::make_unique<uint8_t[]>(num);
      UnpackCodes(bits, packed.get(), num, unpacked.get());
      for (size_t i = 0; i < num; ++i) {
        ASSERT_EQ(unpacked[i], codes[i] & ((1 << bits) - 1)) << bits << " bits, " << num;
      }
    }
  }
}

TEST(BitPackingTest, ThreeBitsAreWrittenOutByHand) {
  const uint8_t codes[] = {1, 2, 3, 4, 5, 6, 7, 0, 5};  // 001 010 011 100 101 110 111 000 | 101
  uint8_t packed[4];
  PackCodes(3, codes, 9, packed);
  // From the lowest bit: 100 010 11|0 001 101 0|11 111 000 | 101 00000.
  EXPECT_EQ(std::vector(packed, packed + 4), (std::vector<uint8_t>{0xd1, 0x58, 0x1f, 0x05}));
}

}  // namespace
}  // namespace qc2c
