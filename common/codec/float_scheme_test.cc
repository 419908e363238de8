#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "common/codec/test_cache.h"

namespace qc2c {
namespace {

class FloatSchemeTest : public testing::TestWithParam<DeviceType> {};

// Made with torch: x.to(dtype).view(torch.uint8).
TEST_P(FloatSchemeTest, GivesTheGoldenFrames) {
  SKIP_WITHOUT(GetParam());
  const GoldenFrame kFrames[] = {
      {"fp32",
       "0000803f00000040000040c00000003f000080be0000003e"
       "000080400000a0400000d0c0000000000000000000000000",
       "",
       "0000c8c2000048420000cc410ad7233c0ad7a33c8fc2f5bc"
       "0000803f000080bf0000803f000000400000804000000041",
       ""},
      {"bf16", "803f004040c0003f80be003e8040a040d0c0000000000000", "",
       "c8c24842cc41243ca43cf6bc803f80bf803f004080400041", ""},
      {"fp16", "003c004000c2003800b400300044004580c6000000000000", "",
       "40d64052604e1f211f25aea7003c00bc003c004000440048", ""},
  };
  for (const GoldenFrame& frame : kFrames) ExpectGolden(GetParam(), frame);
}

TEST_P(FloatSchemeTest, ReturnsTheSameBitsIfTheCacheHasTheSchemesType) {
  SKIP_WITHOUT(GetParam());
  const std::pair<DType, std::string> kCases[] = {
      {DType::kFp32, "fp32"}, {DType::kBf16, "bf16"}, {DType::kFp16, "fp16"}};
  for (const auto& [dtype, codec] : kCases) {
    TestCache cache({.num_layers = 2, .num_kv_heads = 3, .head_dim = 16}, 5, dtype, GetParam());
    cache.FillRandom(1);
    TestCache out({.num_layers = 2, .num_kv_heads = 3, .head_dim = 16}, 5, dtype, GetParam());
    const auto frame = Encode(cache, codec);
    ASSERT_TRUE(frame.ok()) << frame.status();
    ASSERT_TRUE(DecodeCache(*frame, out.View()).ok());
    EXPECT_EQ(out.Bytes(), cache.Bytes()) << codec;
  }
}

// Half a unit of the last place, by the type's own spacing.
TEST_P(FloatSchemeTest, ErrsByAtMostHalfAUnitOfTheLastPlace) {
  SKIP_WITHOUT(GetParam());
  const std::tuple<std::string, int, int> kCases[] = {{"bf16", 8, -126}, {"fp16", 11, -14}};
  for (const auto& [codec, digits, min_exponent] : kCases) {
    TestCache cache({.num_layers = 1, .num_kv_heads = 2, .head_dim = 33}, 40, DType::kFp32,
                    GetParam());
    std::mt19937 random(3);
    std::uniform_real_distribution<float> exponent(-20.0f, 10.0f);
    cache.Fill([&](int, Half, int64_t, int, int) {
      return std::exp2(exponent(random)) * (random() % 2 == 0 ? 1.0f : -1.0f);
    });
    const std::vector<float> before = cache.Values();
    const auto frame = Encode(cache, codec);
    ASSERT_TRUE(frame.ok()) << frame.status();
    ASSERT_TRUE(DecodeCache(*frame, cache.View()).ok());
    const std::vector<float> after = cache.Values();
    for (size_t i = 0; i < before.size(); ++i) {
      const int binade = std::max(std::ilogb(before[i]), min_exponent);
      EXPECT_LE(std::abs(after[i] - before[i]), std::ldexp(1.0f, binade - digits)) << before[i];
    }
  }
}

TEST_P(FloatSchemeTest, RefusesAFiniteValueThatWouldBecomeInfinite) {
  SKIP_WITHOUT(GetParam());
  TestCache cache({.num_layers = 1, .num_kv_heads = 1, .head_dim = 4}, 1, DType::kFp32, GetParam());
  cache.Fill([](int, Half, int64_t, int, int d) { return d == 2 ? -65519.0f : 1.0f; });
  EXPECT_TRUE(Encode(cache, "fp16").ok());  // rounds to 65504
  cache.Fill([](int, Half half, int64_t, int, int d) {
    return half == Half::kValue && d == 2 ? -65520.0f : 1.0f;
  });
  const absl::Status status = Encode(cache, "fp16").status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("layer 0 value"));
  EXPECT_TRUE(Encode(cache, "bf16").ok());
}

INSTANTIATE_TEST_SUITE_P(Devices, FloatSchemeTest,
                         testing::Values(DeviceType::kCpu, DeviceType::kCuda),
                         [](const auto& info) { return DeviceText(info.param); });

}  // namespace
}  // namespace qc2c
