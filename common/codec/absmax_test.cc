#include "common/codec/absmax.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "common/codec/bit_packing.h"
#include "common/codec/test_cache.h"

namespace qc2c {
namespace {

float AbsmaxScale(float amax, int qmax, ScaleType type) {
  const auto top = static_cast<float>(qmax);
  return ScaleOf({Statistic::kAbsmax, top, top}, amax, 1, type);
}

constexpr float kMaxFloat = std::numeric_limits<float>::max();

TEST(AbsmaxScaleTest, IsTheQuotientRoundedToItsType) {
  EXPECT_EQ(AbsmaxScale(127.0f, 127, ScaleType::kFp16), 1.0f);
  EXPECT_EQ(AbsmaxScale(1.0f, 127, ScaleType::kFp32), 1.0f / 127.0f);
  EXPECT_EQ(AbsmaxScale(7.0f * 2049.0f, 7, ScaleType::kFp16), 2048.0f);  // tie to even
  EXPECT_EQ(AbsmaxScale(7.0f * 2051.0f, 7, ScaleType::kFp16), 2052.0f);  // tie to even, up
  EXPECT_EQ(AbsmaxScale(7.0f * 257.0f, 7, ScaleType::kBf16), 256.0f);    // tie to even
}

TEST(AbsmaxScaleTest, IsZeroBelowTheSmallestNormalNumber) {
  EXPECT_EQ(AbsmaxScale(0.0f, 127, ScaleType::kFp16), 0.0f);
  EXPECT_EQ(AbsmaxScale(127.0f * 0x1p-14f, 127, ScaleType::kFp16), 0x1p-14f);
  EXPECT_EQ(AbsmaxScale(127.0f * 0x1.ff0p-15f, 127, ScaleType::kFp16), 0.0f);
  EXPECT_EQ(AbsmaxScale(127.0f * 0x1.ff0p-15f, 127, ScaleType::kBf16), 0x1.00p-14f);
  EXPECT_EQ(AbsmaxScale(0x1p-126f, 7, ScaleType::kFp32), 0.0f);
  EXPECT_EQ(AbsmaxScale(0x1p-149f, 7, ScaleType::kBf16), 0.0f);
}

TEST(AbsmaxScaleTest, IsInfiniteIfTheGroupCannotBeStored) {
  EXPECT_EQ(AbsmaxScale(7.0f * 65504.0f, 7, ScaleType::kFp16), 65504.0f);
  EXPECT_TRUE(std::isinf(AbsmaxScale(7.0f * 65520.0f, 7, ScaleType::kFp16)));
  EXPECT_TRUE(std::isfinite(AbsmaxScale(7.0f * 65520.0f, 7, ScaleType::kBf16)));
  // FLT_MAX / 127 rounds up, and 127 times that rounds to infinity.
  EXPECT_TRUE(std::isinf(AbsmaxScale(kMaxFloat, 127, ScaleType::kFp32)));
  EXPECT_TRUE(std::isfinite(AbsmaxScale(kMaxFloat, 127, ScaleType::kBf16)));
}

TEST(AbsmaxCodeTest, RoundsTiesToEvenAndClamps) {
  EXPECT_EQ(AbsmaxCode(0.5f, 1.0f, 7.0f), 0);
  EXPECT_EQ(AbsmaxCode(1.5f, 1.0f, 7.0f), 2);
  EXPECT_EQ(AbsmaxCode(-2.5f, 1.0f, 7.0f), -2);
  EXPECT_EQ(AbsmaxCode(-7.6f, 1.0f, 7.0f), -7);
  EXPECT_EQ(AbsmaxCode(127.6f, 1.0f, 127.0f), 127);
}

class AbsmaxBlockTest : public testing::TestWithParam<DeviceType> {
 protected:
  static constexpr KvLayout kLayout = {.num_layers = 1, .num_kv_heads = 2, .head_dim = 5};

  // The code bytes and the first scale of the keys of a cache that is `value` everywhere.
  std::pair<std::string, float> EncodeConstant(float value, std::string_view codec) {
    TestCache cache(kLayout, 1, DType::kFp32, GetParam());
    cache.Fill([&](int, Half, int64_t, int, int) { return value; });
    const auto frame = Encode(cache, codec);
    EXPECT_TRUE(frame.ok()) << frame.status();
    if (!frame.ok()) return {};
    return {ToHex(frame->Codes(frame->blocks[0])),
            LoadScale(frame->Scales(frame->blocks[0]), 0, frame->codec.scale_type)};
  }
};

TEST_P(AbsmaxBlockTest, AllZeroGivesZeroCodesAndScale) {
  SKIP_WITHOUT(GetParam());
  for (const std::string axis : {"per_token", "per_head", "per_layer"}) {
    EXPECT_EQ(EncodeConstant(0.0f, "int8,axis=" + axis), std::pair(std::string(20, '0'), 0.0f));
    EXPECT_EQ(EncodeConstant(-0.0f, "int4,axis=" + axis), std::pair(std::string(12, '0'), 0.0f));
  }
}

TEST_P(AbsmaxBlockTest, AConstantIsTheLargestCode) {
  SKIP_WITHOUT(GetParam());
  EXPECT_EQ(EncodeConstant(127.0f, "int8"), std::pair(std::string("7f7f7f7f7f7f7f7f7f7f"), 1.0f));
  EXPECT_EQ(EncodeConstant(-254.0f, "int8"), std::pair(std::string("81818181818181818181"), 2.0f));
  EXPECT_EQ(EncodeConstant(-7.0f, "int4"), std::pair(std::string("999909999909"), 1.0f));
}

TEST_P(AbsmaxBlockTest, DenormalValuesBecomeZero) {
  SKIP_WITHOUT(GetParam());
  for (const std::string scale : {"fp16", "bf16", "fp32"}) {
    EXPECT_EQ(EncodeConstant(0x1p-140f, "int8,scale=" + scale),
              std::pair(std::string(20, '0'), 0.0f));
  }
  // Normal in fp32, but the scale is not normal in fp16: stated in absmax.h.
  EXPECT_EQ(EncodeConstant(0x1p-9f, "int8").second, 0.0f);
  EXPECT_EQ(EncodeConstant(0x1p-9f, "int8,scale=bf16").first, "7f7f7f7f7f7f7f7f7f7f");
}

TEST_P(AbsmaxBlockTest, AScaleThatOverflowsIsRefusedByName) {
  SKIP_WITHOUT(GetParam());
  for (const std::string axis : {"per_token", "per_head", "per_layer"}) {
    TestCache cache(kLayout, 3, DType::kFp32, GetParam());
    cache.Fill([](int, Half half, int64_t t, int h, int d) {
      return half == Half::kValue && t == 1 && h == 1 && d == 4 ? -8.4e6f : 1.0f;
    });
    const absl::Status status = Encode(cache, "int8,axis=" + axis).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), testing::AllOf(testing::HasSubstr("layer 0 value"),
                                                              testing::HasSubstr("scale fp16")));
    EXPECT_TRUE(Encode(cache, "int8,scale=bf16,axis=" + axis).ok());
  }
}

// Encoders multiply by a reciprocal where that decides the same; here it hardly does. Every value
// of a row of 64 lies within a few steps of fp32 of a tie; the codes are those of the definition.
TEST_P(AbsmaxBlockTest, CodesNextToTiesAreThoseOfTheDefinition) {
  SKIP_WITHOUT(GetParam());
  constexpr KvLayout kWide = {.num_layers = 1, .num_kv_heads = 2, .head_dim = 64};
  constexpr int kTokens = 100;
  for (const auto& [name, bits] :
       {std::pair<std::string, int>{"int8", 8}, {"int4", 4}, {"int3", 3}}) {
    for (const std::string type : {"fp16", "bf16", "fp32"}) {
      const int top = MaxCode(bits);
      TestCache cache(kWide, kTokens, DType::kFp32, GetParam());
      std::mt19937 random(5);
      std::vector<float> values;
      cache.Fill([&](int, Half, int64_t t, int, int d) {
        const float scale = static_cast<float>(128 + t) / 1024;  // exact in every type
        float value = scale * static_cast<float>(top);  // of the row's first, which gives the scale
        if (d > 0) {
          value = scale * (static_cast<float>(static_cast<int>(random() % (2 * top)) - top) + 0.5f);
          for (int steps = static_cast<int>(random() % 8); steps > 0; --steps) {
            value = std::nextafter(value, random() % 2 == 0 ? kMaxFloat : -kMaxFloat);
          }
        }
        values.push_back(value);
        return value;
      });
      const auto frame = Encode(cache, name + ",scale=" + type);
      ASSERT_TRUE(frame.ok()) << frame.status();
      const size_t row_bytes = PackedBytes(bits, kWide.head_dim);
      size_t next = 0;
      for (const KvBlock& block : frame->blocks) {
        for (size_t row = 0; row < size_t{kTokens} * kWide.num_kv_heads; ++row) {
          const float scale = LoadScale(frame->Scales(block), row, frame->codec.scale_type);
          std::vector<uint8_t> codes(kWide.head_dim);
          UnpackCodes(bits, frame->Codes(block).data() + row * row_bytes, codes.size(),
                      codes.data());
          for (const uint8_t code : codes) {
            const float rounded = std::nearbyint(values[next++] / scale);
            const int expected = std::clamp(static_cast<int>(rounded), -top, top);
            ASSERT_EQ(code, static_cast<uint8_t>(expected) & ((1 << bits) - 1))
                << name << " scale " << type << " row " << row;
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, AbsmaxBlockTest,
                         testing::Values(DeviceType::kCpu, DeviceType::kCuda),
                         [](const auto& info) { return DeviceText(info.param); });

}  // namespace
}  // namespace qc2c
