#include "common/codec/fp8.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "common/base/hash.h"
#include "common/codec/test_cache.h"

namespace qc2c {
namespace {

template <typename Format>
uint64_t HashOfCodes() {
  std::vector<uint8_t> codes;
  for (uint32_t bits = 0; bits < 1u << 16; ++bits) codes.push_back(Format::Narrow(bits << 16));
  return Hash(codes);
}

// NaNs with their sign and the quiet bit alone, as PyTorch's tables were made to have them.
template <typename Format>
uint64_t HashOfNumbers() {
  Hasher hasher;
  for (uint32_t code = 0; code < 256; ++code) {
    hasher.AddU32(Format::Widen(static_cast<uint8_t>(code)));
  }
  return hasher.Digest();
}

// XXH3 of torch 2.11's `x.to(torch.float8_...).view(torch.uint8)` over the bf16 numbers 0 .. 65535
// in order, infinities and NaNs included.
TEST(Fp8Test, EveryBf16NumberBecomesPyTorchsCode) {
  EXPECT_EQ(HashOfCodes<Fp8E4m3>(), 0x8bb9fddcc9068a48u);
  EXPECT_EQ(HashOfCodes<Fp8E5m2>(), 0xe745b20b2bd09532u);
}

// XXH3 of torch 2.11's `codes.view(torch.float8_...).float()` over the codes 0 .. 255.
TEST(Fp8Test, EveryCodeBecomesPyTorchsNumber) {
  EXPECT_EQ(HashOfNumbers<Fp8E4m3>(), 0x770ad43828956940u);
  EXPECT_EQ(HashOfNumbers<Fp8E5m2>(), 0x359f5469bc767f52u);
}

template <typename Format>
float RoundTrip(float x) {
  return std::bit_cast<float>(Format::Widen(Format::Narrow(std::bit_cast<uint32_t>(x))));
}

// float_scheme.h's bound, over fp32 values that bf16 does not have.
template <typename Format>
void ExpectHalfAUnit(int precision, int min_exponent, float max) {
  std::mt19937 random(9);
  for (int i = 0; i < 200000; ++i) {
    const float x = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (!(std::abs(x) <= max)) continue;
    const int exponent = std::max(x == 0 ? min_exponent : std::ilogb(x), min_exponent);
    ASSERT_LE(std::abs(RoundTrip<Format>(x) - x), std::ldexp(1.0f, exponent - precision)) << x;
  }
}

TEST(Fp8Test, ErrsByAtMostHalfAUnitOfTheLastPlace) {
  ExpectHalfAUnit<Fp8E4m3>(4, -6, 464.0f);
  ExpectHalfAUnit<Fp8E5m2>(3, -14, 61439.0f);
}

class Fp8SchemeTest : public testing::TestWithParam<DeviceType> {};

TEST_P(Fp8SchemeTest, RefusesTheFirstValueThatHasNoFiniteCode) {
  SKIP_WITHOUT(GetParam());
  const std::pair<std::string, float> kCases[] = {
      {"fp8_e4m3", 464.0f},  // the tie goes to 448
      {"fp8_e5m2", std::nextafter(61440.0f, 0.0f)},
  };
  for (const auto& [codec, largest] : kCases) {
    TestCache cache({.num_layers = 1, .num_kv_heads = 1, .head_dim = 3}, 2, DType::kFp32,
                    GetParam());
    const auto encode = [&](float value) {
      cache.Fill([&](int, Half, int64_t t, int, int d) { return t == 1 && d == 2 ? value : 1; });
      return Encode(cache, codec).status();
    };
    EXPECT_TRUE(encode(largest).ok()) << codec;
    const absl::Status status = encode(-std::nextafter(largest, 1e9f));
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_NE(status.message().find("too large for " + codec), std::string::npos) << status;
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, Fp8SchemeTest,
                         testing::Values(DeviceType::kCpu, DeviceType::kCuda),
                         [](const auto& info) { return DeviceText(info.param); });

}  // namespace
}  // namespace qc2c
