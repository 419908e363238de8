#include "common/codec/zero_point.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/codec/scaled_scheme.h"
#include "common/codec/scheme_bounds.h"
#include "common/codec/scheme_registry.h"
#include "common/codec/test_cache.h"

namespace qc2c {
namespace {

using testing::Each;
using testing::FloatNear;
using testing::HasSubstr;

constexpr KvLayout kZeroPointLayout = {.num_layers = 2, .num_kv_heads = 2, .head_dim = 21};
constexpr int64_t kNumTokens = 19;
constexpr size_t kBlockValues = kNumTokens * 2 * 21;

// Every scheme with scales on every axis.
std::vector<std::string> EveryZeroPointCodec(const std::string& scale) {
  std::vector<std::string> codecs;
  for (const RegisteredScheme& known : AllSchemes()) {
    if (!known.coder->has_scales()) continue;
    for (const Axis axis : kAllAxes) {
      const bool has_groups = axis == Axis::kGroup || axis == Axis::kGroupTokens;
      codecs.push_back(std::string(known.coder->name()) + ",axis=" + std::string(AxisName(axis)) +
                       (has_groups ? ",group=8" : "") + ",scale=" + scale + ",zero_point=midpoint");
    }
  }
  return codecs;
}

// Values about a middle of their own for each layer and head, far from 0.
TestCache OneSidedCache(DeviceType device, DType dtype = DType::kFp32) {
  TestCache cache(kZeroPointLayout, kNumTokens, dtype, device, 1);
  std::mt19937 random(8);
  std::normal_distribution<float> normal;
  cache.Fill([&](int layer, Half, int64_t, int h, int) {
    return normal(random) + 20.0f * static_cast<float>(1 + layer) - 70.0f * static_cast<float>(h);
  });
  return cache;
}

// The scale of the i-th value of a block.
size_t IndexOf(const Scaling& scaling, size_t i) {
  const size_t row = i / kZeroPointLayout.head_dim;
  return ScaleIndex(scaling, row / kZeroPointLayout.num_kv_heads,
                    row % kZeroPointLayout.num_kv_heads, i % kZeroPointLayout.head_dim,
                    kZeroPointLayout.num_kv_heads, kZeroPointLayout.head_dim);
}

class ZeroPointTest : public testing::TestWithParam<DeviceType> {};

TEST_P(ZeroPointTest, IsTheMiddleOfTheRangeAndTheErrorIsTheSchemesOfTheDistance) {
  SKIP_WITHOUT(GetParam());
  for (const std::string scale : {"fp32", "fp16", "bf16"}) {
    for (const std::string& codec : EveryZeroPointCodec(scale)) {
      TestCache cache = OneSidedCache(GetParam());
      TestCache out(kZeroPointLayout, kNumTokens, DType::kFp32, GetParam());
      const auto frame = Encode(cache, codec);
      ASSERT_TRUE(frame.ok()) << codec << frame.status();
      ASSERT_TRUE(DecodeCache(*frame, out.View()).ok());
      const std::vector<float> before = cache.Values();
      const std::vector<float> after = out.Values();
      const Scaling scaling = frame->codec.scaling();
      size_t first = 0;
      for (const KvBlock& block : frame->blocks) {
        const size_t num_scales = frame->Scales(block).size() / ScaleBytes(scaling.type);
        std::vector<float> min(num_scales, INFINITY), max(num_scales, -INFINITY);
        for (size_t i = 0; i < kBlockValues; ++i) {
          float& low = min[IndexOf(scaling, i)];
          float& high = max[IndexOf(scaling, i)];
          low = std::min(low, before[first + i]);
          high = std::max(high, before[first + i]);
        }
        for (size_t i = 0; i < kBlockValues; ++i) {
          const size_t index = IndexOf(scaling, i);
          const float zero_point = LoadScale(frame->ZeroPoints(block), index, scaling.type);
          const float middle = 0.5f * min[index] + 0.5f * max[index];
          ASSERT_LE(std::abs(zero_point - middle), std::abs(middle) * 0x1p-8f) << codec;
          const float x = before[first + i];
          const float own = SchemeErrorBound(frame->codec, x - zero_point,
                                             LoadScale(frame->Scales(block), index, scaling.type));
          ASSERT_LE(std::abs(after[first + i] - x), ZeroPointErrorBound(own, x, zero_point))
              << codec << " at " << i;
        }
        first += kBlockValues;
      }
    }
  }
}

// The heads' middles lie 10 and more deviations from 0, of which a symmetric step is a seventh.
TEST_P(ZeroPointTest, SparesValuesOnOneSideOfZeroTheStepOfTheirDistance) {
  SKIP_WITHOUT(GetParam());
  const auto worst = [&](const std::string& codec) {
    TestCache cache = OneSidedCache(GetParam());
    TestCache out(kZeroPointLayout, kNumTokens, DType::kFp32, GetParam());
    EXPECT_TRUE(DecodeCache(Encode(cache, codec).value(), out.View()).ok());
    const std::vector<float> before = cache.Values(), after = out.Values();
    float error = 0;
    for (size_t i = 0; i < before.size(); ++i) {
      error = std::max(error, std::abs(after[i] - before[i]));
    }
    return error;
  };
  EXPECT_LT(5 * worst("int4,axis=per_channel,zero_point=midpoint"), worst("int4,axis=per_channel"));
}

TEST_P(ZeroPointTest, GivesTheCpusBits) {
  SKIP_WITHOUT(GetParam());
  for (const DType dtype : {DType::kFp32, DType::kBf16, DType::kFp16}) {
    for (const std::string& codec : EveryZeroPointCodec("fp16")) {
      for (const std::string select :
           {"", ",select=strided,keep_ratio=0.3", ",select=key_norm,keep_ratio=0.6"}) {
        TestCache reference = OneSidedCache(DeviceType::kCpu, dtype);
        TestCache cache = OneSidedCache(GetParam(), dtype);
        const auto expected = Encode(reference, codec + select);
        const auto frame = Encode(cache, codec + select);
        ASSERT_TRUE(expected.ok() && frame.ok()) << expected.status() << frame.status();
        ASSERT_EQ(frame->data, expected->data) << codec << select;
        const auto kept = static_cast<int64_t>(frame->positions.size());
        TestCache reference_out(kZeroPointLayout, kept, dtype, DeviceType::kCpu);
        TestCache out(kZeroPointLayout, kept, dtype, GetParam());
        ASSERT_TRUE(DecodeCache(*expected, reference_out.View()).ok());
        ASSERT_TRUE(DecodeCache(*frame, out.View()).ok());
        ASSERT_EQ(out.Bytes(), reference_out.Bytes()) << codec << select;
      }
    }
  }
}

// A constant is its own middle, so that nothing is left to code.
TEST_P(ZeroPointTest, AConstantThatTheTypeHoldsComesBackAsItIs) {
  SKIP_WITHOUT(GetParam());
  for (const std::string& codec : EveryZeroPointCodec("fp32")) {
    for (const float value : {0.0f, 1.0f, -3.25f, 0x1p-149f}) {
      for (const int64_t num_tokens : {1, 3}) {
        TestCache cache(kZeroPointLayout, num_tokens, DType::kFp32, GetParam());
        cache.Fill([&](int, Half, int64_t, int, int) { return value; });
        const auto frame = Encode(cache, codec);
        ASSERT_TRUE(frame.ok()) << codec << frame.status();
        ASSERT_TRUE(DecodeCache(*frame, cache.View()).ok());
        // Half of the smallest denormal rounds to 0.
        EXPECT_THAT(cache.Values(), Each(FloatNear(value, 0x1p-149f))) << codec;
      }
    }
  }
}

TEST_P(ZeroPointTest, WhatItsTypeCannotStoreIsRefused) {
  SKIP_WITHOUT(GetParam());
  TestCache cache(kZeroPointLayout, 2, DType::kFp32, GetParam());
  cache.Fill([](int, Half, int64_t, int, int) { return -70000.0f; });
  const absl::Status status = Encode(cache, "int8,zero_point=midpoint").status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("layer 0 key holds values too large for"));
  EXPECT_TRUE(Encode(cache, "int8,zero_point=midpoint,scale=bf16").ok());
}

TEST_P(ZeroPointTest, RefusesNonFiniteValuesNamingLayerHalfTokenAndHead) {
  SKIP_WITHOUT(GetParam());
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    TestCache cache(kZeroPointLayout, 4, DType::kFp32, GetParam());
    cache.Fill([&](int layer, Half half, int64_t t, int h, int d) {
      return layer == 1 && half == Half::kValue && t == 3 && h == 1 && d == 8 ? bad : 1.0f;
    });
    for (const std::string& codec : EveryZeroPointCodec("fp16")) {
      EXPECT_THAT(std::string(Encode(cache, codec).status().message()),
                  HasSubstr("layer 1 value holds NaN or infinity at token 3, head 1"))
          << codec;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, ZeroPointTest,
                         testing::Values(DeviceType::kCpu, DeviceType::kCuda),
                         [](const auto& info) { return DeviceText(info.param); });

TEST(ZeroPointFrameTest, AZeroPointThatIsNotFiniteIsRefused) {
  TestCache cache(kZeroPointLayout, 2, DType::kFp32, DeviceType::kCpu);
  cache.FillRandom(1);
  KvFrame frame = Encode(cache, "int8,zero_point=midpoint").value();
  const KvBlock& block = frame.blocks[1];
  frame.data[block.zero_points_offset + 4] = 0;
  frame.data[block.zero_points_offset + 5] = 0x7c;  // with the byte before it: infinity, the third
  const absl::Status status = DecodeCache(frame, cache.View());
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("layer 0 value has zero point 2 of inf: expected a finite number"));
}

TEST(ZeroPointSpecTest, AFloatSchemeHasNone) {
  const auto spec = CodecSpec::Parse("bf16,zero_point=midpoint");
  EXPECT_THAT(std::string(spec.status().message()),
              HasSubstr("zero_point is 'midpoint': expected none, as bf16 has no scales"));
}

}  // namespace
}  // namespace qc2c
