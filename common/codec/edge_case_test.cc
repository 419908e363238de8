// What every scheme makes of the inputs that break codecs, on every axis. absmax.h, levels.h and
// float_scheme.h say what is expected.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "common/codec/scaled_scheme.h"
#include "common/codec/scheme_bounds.h"
#include "common/codec/scheme_registry.h"
#include "common/codec/test_cache.h"

namespace qc2c {
namespace {

using testing::Each;
using testing::HasSubstr;

// Every scheme on every axis, scales in fp32.
std::vector<std::string> EveryCodec() {
  std::vector<std::string> codecs;
  for (const RegisteredScheme& known : AllSchemes()) {
    const std::string name(known.coder->name());
    if (!known.coder->has_scales()) codecs.push_back(name);
    if (!known.coder->has_scales()) continue;
    for (const Axis axis : kAllAxes) {
      codecs.push_back(name + ",scale=fp32,axis=" + std::string(AxisName(axis)));
    }
  }
  return codecs;
}

class EdgeCaseTest : public testing::TestWithParam<DeviceType> {
 protected:
  // The decoded values of a cache of this shape that is value(d) everywhere.
  std::vector<float> Decoded(const std::string& codec, const KvLayout& layout, int64_t num_tokens,
                             const std::function<float(int)>& value) {
    TestCache cache(layout, num_tokens, DType::kFp32, GetParam());
    cache.Fill([&](int, Half, int64_t, int, int d) { return value(d); });
    const auto frame = Encode(cache, codec);
    EXPECT_TRUE(frame.ok()) << codec << ": " << frame.status();
    if (!frame.ok()) return {};
    EXPECT_TRUE(DecodeCache(*frame, cache.View()).ok());
    return cache.Values();
  }
};

constexpr KvLayout kEdgeLayout = {.num_layers = 1, .num_kv_heads = 2, .head_dim = 21};
constexpr KvLayout kOneElement = {.num_layers = 1, .num_kv_heads = 1, .head_dim = 1};

TEST_P(EdgeCaseTest, AllZerosComeBackAsZeros) {
  SKIP_WITHOUT(GetParam());
  for (const std::string& codec : EveryCodec()) {
    EXPECT_THAT(Decoded(codec, kEdgeLayout, 3, [](int) { return 0.0f; }), Each(0.0f)) << codec;
  }
}

// A constant is its own absmax, mean magnitude and rms; what a scheme makes of it is the level that
// is nearest to 1 over the scale of 1.
float OfConstant(Scheme scheme) {
  if (scheme == Scheme::kInt2) return 0.75f;            // 1.5 times absmax / 2
  if (scheme == Scheme::kInt2Lloyd) return 1.5104176f;  // 1 lies above the threshold .9816
  return 1.0f;
}

TEST_P(EdgeCaseTest, AConstantComesBackAsItsLevel) {
  SKIP_WITHOUT(GetParam());
  for (const std::string& codec : EveryCodec()) {
    for (const float constant : {2.5f, -2.5f}) {
      const float expected = constant * OfConstant(Spec(codec).scheme);
      for (const float value : Decoded(codec, kEdgeLayout, 3, [&](int) { return constant; })) {
        ASSERT_NEAR(value, expected, std::abs(expected) * 0x1p-20f) << codec;
      }
    }
  }
}

TEST_P(EdgeCaseTest, OneElementComesBackAsItsLevel) {
  SKIP_WITHOUT(GetParam());
  for (const std::string& codec : EveryCodec()) {
    const float expected = -0.625f * OfConstant(Spec(codec).scheme);
    for (const float value : Decoded(codec, kOneElement, 1, [](int) { return -0.625f; })) {
      EXPECT_NEAR(value, expected, std::abs(expected) * 0x1p-20f) << codec;
    }
  }
}

TEST_P(EdgeCaseTest, DenormalsBecomeZeroWhereTheyNeedAScale) {
  SKIP_WITHOUT(GetParam());
  for (const std::string& codec : EveryCodec()) {
    const std::vector<float> values = Decoded(
        codec, kEdgeLayout, 2, [](int d) { return (d % 2 == 0 ? 1.0f : -1.0f) * 0x1p-140f; });
    const bool kept = codec == "fp32" || codec == "bf16";  // bf16 has them down to 2^-133
    for (const float value : values) EXPECT_LE(std::abs(value), kept ? 0x1p-133f : 0.0f) << codec;
  }
}

TEST_P(EdgeCaseTest, NanAndInfinityAreRefusedByLayerHalfTokenAndHead) {
  SKIP_WITHOUT(GetParam());
  for (const std::string& codec : EveryCodec()) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
          std::numeric_limits<float>::infinity()}) {
      TestCache cache(kEdgeLayout, 3, DType::kFp32, GetParam());
      cache.Fill([&](int, Half half, int64_t t, int h, int d) {
        return half == Half::kValue && t == 2 && h == 1 && d == 20 ? bad : 1.0f;
      });
      const absl::Status status = Encode(cache, codec).status();
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << codec << status;
      EXPECT_THAT(std::string(status.message()),
                  HasSubstr("layer 0 value holds NaN or infinity at token 2, head 1"));
    }
  }
}

// Rows whose last byte, chunk and group are not full: the bits after the row's end are zero, and
// the group that is short has a scale of its own.
TEST_P(EdgeCaseTest, ARaggedTailIsPaddedWithZeroBitsAndKeepsItsBound) {
  SKIP_WITHOUT(GetParam());
  for (const std::string& codec : EveryCodec()) {
    const SchemeCoder& coder = *FindScheme(Spec(codec).scheme);
    const int32_t head_dim = kEdgeLayout.head_dim;
    TestCache cache(kEdgeLayout, 2, DType::kFp32, GetParam());
    // The tail is small, so that a scale of another group would not do.
    cache.Fill([](int, Half, int64_t t, int h, int d) {
      return (d < 16 ? 8.0f : 0.125f) * std::sin(static_cast<float>(1 + d + 5 * h + 11 * t));
    });
    const auto frame = Encode(cache, codec + (Spec(codec).axis == Axis::kGroup ? ",group=8" : ""));
    ASSERT_TRUE(frame.ok()) << frame.status();
    const size_t row_bytes = coder.RowBytes(head_dim);
    const int used = head_dim * coder.bits_per_value() % 8;
    for (size_t end = row_bytes; used != 0 && end <= frame->blocks[0].codes_bytes;
         end += row_bytes) {
      EXPECT_EQ(frame->Codes(frame->blocks[0])[end - 1] >> used, 0) << codec;
    }
    if (!coder.has_scales()) continue;
    const std::vector<float> before = cache.Values();
    ASSERT_TRUE(DecodeCache(*frame, cache.View()).ok());
    const std::vector<float> after = cache.Values();
    for (int i = 0; i < 2 * 2 * head_dim; ++i) {  // the keys
      const size_t index = ScaleIndex(frame->codec.scaling(), i / (2 * head_dim), i / head_dim % 2,
                                      i % head_dim, 2, head_dim);
      const float scale = LoadScale(frame->Scales(frame->blocks[0]), index, ScaleType::kFp32);
      EXPECT_LE(std::abs(after[i] - before[i]), SchemeErrorBound(frame->codec, before[i], scale))
          << codec << " at " << i;
    }
  }
}

// The axes over tokens have one token to go by.
TEST_P(EdgeCaseTest, ASingleTokenIsEncodedOnEveryAxis) {
  SKIP_WITHOUT(GetParam());
  for (const std::string& codec : EveryCodec()) {
    const std::vector<float> values =
        Decoded(codec, kEdgeLayout, 1, [](int d) { return static_cast<float>(d) - 10.0f; });
    ASSERT_EQ(values.size(), 2u * 2 * 21);
    EXPECT_LT(values[0], 0.0f) << codec;
    EXPECT_GT(values[20], 0.0f) << codec;
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, EdgeCaseTest,
                         testing::Values(DeviceType::kCpu, DeviceType::kCuda),
                         [](const auto& info) { return DeviceText(info.param); });

}  // namespace
}  // namespace qc2c
