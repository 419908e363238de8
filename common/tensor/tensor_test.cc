#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "common/tensor/dtype.h"
#include "common/tensor/kv_cache_view.h"

namespace qc2c {
namespace {

// The compiler's own _Float16 is the independent implementation for every 16-bit pattern.
TEST(Fp16Test, WideningIsExactForEveryBitPattern) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const float expected = static_cast<float>(std::bit_cast<_Float16>(static_cast<uint16_t>(bits)));
    const float actual = Fp16ToFp32(static_cast<uint16_t>(bits));
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(actual)) << bits;
    } else {
      EXPECT_EQ(std::bit_cast<uint32_t>(actual), std::bit_cast<uint32_t>(expected)) << bits;
    }
  }
}

TEST(Fp16Test, NarrowingRoundsLikeTheCompiler) {
  std::mt19937 random(7);
  for (int i = 0; i < 2'000'000; ++i) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    const auto expected = std::bit_cast<uint16_t>(static_cast<_Float16>(value));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(Fp16ToFp32(Fp32ToFp16(value))));
    } else {
      ASSERT_EQ(Fp32ToFp16(value), expected) << value;
    }
  }
}

TEST(Bf16Test, RoundsToNearestEven) {
  EXPECT_EQ(Fp32ToBf16(1.0f), 0x3f80);
  EXPECT_EQ(Fp32ToBf16(1.0f + 0x1p-8f), 0x3f80);             // tie, down to even
  EXPECT_EQ(Fp32ToBf16(1.0f + 0x1p-7f + 0x1p-8f), 0x3f82);   // tie, up to even
  EXPECT_EQ(Fp32ToBf16(1.0f + 0x1p-8f + 0x1p-20f), 0x3f81);  // above the tie
  EXPECT_EQ(Fp32ToBf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_TRUE(std::isnan(Bf16ToFp32(Fp32ToBf16(std::numeric_limits<float>::quiet_NaN()))));
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const float wide = Bf16ToFp32(static_cast<uint16_t>(bits));
    if (std::isnan(wide)) continue;
    EXPECT_EQ(Fp32ToBf16(wide), bits);
  }
}

TEST(DTypeTest, NamesRoundTripAndUnknownOnesAreListed) {
  for (const DType dtype : {DType::kFp32, DType::kBf16, DType::kFp16}) {
    EXPECT_EQ(ParseDType(DTypeName(dtype)).value(), dtype);
  }
  EXPECT_THAT(std::string(ParseDType("int9").status().message()), testing::HasSubstr("'int9'"));
}

TEST(KvLayoutTest, NamesTheFieldThatIsOutOfRange) {
  EXPECT_TRUE((KvLayout{5, 2, 32}).Validate().ok());
  EXPECT_THAT(std::string((KvLayout{5, 0, 32}).Validate().message()),
              testing::HasSubstr("num_kv_heads is 0"));
  EXPECT_THAT(std::string((KvLayout{5, 2, 1 << 20}).Validate().message()),
              testing::HasSubstr("head_dim is 1048576"));
}

}  // namespace
}  // namespace qc2c
