// What every scheme promises, whatever its axis, scale, input type and device.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/codec/absmax.h"
#include "common/codec/scheme.h"
#include "common/codec/scheme_bounds.h"
#include "common/codec/test_cache.h"

namespace qc2c {
namespace {

using testing::HasSubstr;

const std::string kQuantized[] = {
    "int8",
    "int8,scale=bf16",
    "int8,scale=fp32",
    "int8,axis=per_head",
    "int8,axis=per_layer,scale=bf16",
    "int4",
    "int4,scale=bf16",
    "int4,scale=fp32",
    "int4,axis=per_head,scale=fp32",
    "int4,axis=per_layer",
    "int4,axis=per_channel",
    "int4,axis=group,group=8",
    "int8,axis=group,group=64,scale=bf16",
    "int8,axis=group,group=16,scale=two_level",
    "int4,axis=group,group=8,scale=two_level",
    "int2_lloyd,axis=group,group=8,scale=two_level",
    "int2,axis=group,scale=two_level",
    "binary,axis=group,group=8,scale=two_level",
    "nf4,axis=group,group=64,scale=two_level",
    "int4,axis=group_tokens,group=8",
    "int2,axis=group_tokens,group=16,scale=bf16",
    "int2_lloyd,axis=group_tokens,group=8,scale=fp32",
    "binary,axis=group_tokens,scale=fp32",
    "int3",
    "int3,axis=per_channel,scale=bf16",
    "int3,axis=group,scale=fp32",
    "int2_absmax",
    "int2_absmax,axis=per_head",
    "int2",
    "int2,axis=per_layer,scale=fp32",
    "int2,axis=per_channel",
    "int2_lloyd",
    "int2_lloyd,axis=per_head,scale=fp32",
    "int2_lloyd,axis=per_channel,scale=fp32",
    "int2_lloyd,axis=group,group=16",
    "binary",
    "binary,axis=per_layer,scale=bf16",
    "binary,axis=per_channel",
    "binary,axis=group,group=8,scale=fp32",
    "nf4",
    "nf4,axis=per_head",
    "nf4,axis=per_channel,scale=fp32",
    "nf4,axis=group,group=16",
};
const std::string kFloats[] = {"fp32", "bf16", "fp16", "fp8_e4m3", "fp8_e5m2"};
const DType kTypes[] = {DType::kFp32, DType::kBf16, DType::kFp16};

struct Shape {
  KvLayout layout;
  int64_t num_tokens;
  int64_t gap;
};
// Whole words (vector access), odd D with gaps, one element, D above one chunk a lane, a D of 8 n
// with gaps that break alignment.
const Shape kShapes[] = {
    {{.num_layers = 2, .num_kv_heads = 2, .head_dim = 64}, 37, 0},
    {{.num_layers = 2, .num_kv_heads = 3, .head_dim = 128}, 43, 8},
    {{.num_layers = 3, .num_kv_heads = 3, .head_dim = 7}, 19, 1},
    {{.num_layers = 1, .num_kv_heads = 1, .head_dim = 1}, 1, 0},
    {{.num_layers = 1, .num_kv_heads = 2, .head_dim = 200}, 5, 8},
    {{.num_layers = 2, .num_kv_heads = 5, .head_dim = 24}, 18, 3},
};

std::vector<std::string> AllCodecs() {
  std::vector<std::string> codecs(std::begin(kFloats), std::end(kFloats));
  codecs.insert(codecs.end(), std::begin(kQuantized), std::end(kQuantized));
  return codecs;
}

class CodecContractTest : public testing::TestWithParam<DeviceType> {};

// absmax.h and levels.h: |x - x^| <= their bound, decoded into fp32.
TEST_P(CodecContractTest, ErrsWithinTheBoundOfItsScale) {
  SKIP_WITHOUT(GetParam());
  for (const Shape& shape : kShapes) {
    for (const std::string& codec : kQuantized) {
      TestCache cache(shape.layout, shape.num_tokens, DType::kFp32, GetParam(), shape.gap);
      cache.FillRandom(5);
      TestCache out(shape.layout, shape.num_tokens, DType::kFp32, GetParam(), shape.gap);
      const auto frame = Encode(cache, codec);
      ASSERT_TRUE(frame.ok()) << frame.status();
      ASSERT_TRUE(DecodeCache(*frame, out.View()).ok());
      const std::vector<float> before = cache.Values();
      const std::vector<float> after = out.Values();
      size_t i = 0;
      for (const KvBlock& block : frame->blocks) {
        for (int64_t t = 0; t < shape.num_tokens; ++t) {
          for (int h = 0; h < shape.layout.num_kv_heads; ++h) {
            for (int d = 0; d < shape.layout.head_dim; ++d, ++i) {
              const size_t index = ScaleIndex(frame->codec.scaling(), t, h, d,
                                              shape.layout.num_kv_heads, shape.layout.head_dim);
              const float scale = LoadScale(frame->Scales(block), index, frame->codec.scaling(),
                                            shape.layout.head_dim);
              ASSERT_LE(std::abs(after[i] - before[i]),
                        SchemeErrorBound(frame->codec, before[i], scale))
                  << codec << " at " << i;
            }
          }
        }
      }
      ASSERT_EQ(i, before.size());
    }
  }
}

// A scale rounded down as far as it goes: the largest value is clamped, and the bound still holds.
TEST_P(CodecContractTest, HoldsTheBoundWhereTheRoundedScaleIsSmallest) {
  SKIP_WITHOUT(GetParam());
  // 1 + 2^-8 is half-way between bf16's 1 and 1 + 2^-7, and the tie goes down; below it by one
  // unit, too.
  const float amax = 127.0f * 1.00390625f;
  TestCache cache({.num_layers = 1, .num_kv_heads = 1, .head_dim = 16}, 1, DType::kFp32,
                  GetParam());
  cache.Fill([&](int, Half, int64_t, int, int d) { return d == 0 ? amax : amax - 0.1f * d; });
  const std::vector<float> before = cache.Values();
  const auto frame = Encode(cache, "int8,scale=bf16");
  ASSERT_TRUE(frame.ok()) << frame.status();
  ASSERT_EQ(LoadScale(frame->Scales(frame->blocks[0]), 0, ScaleType::kBf16), 1.0f);
  ASSERT_TRUE(DecodeCache(*frame, cache.View()).ok());
  const std::vector<float> after = cache.Values();
  EXPECT_EQ(after[0], 127.0f);
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_LE(std::abs(after[i] - before[i]), AbsmaxErrorBound(1.0f, 127, ScaleType::kBf16));
  }
}

TEST_P(CodecContractTest, GivesTheSameFrameEveryTime) {
  SKIP_WITHOUT(GetParam());
  for (const std::string& codec : AllCodecs()) {
    TestCache cache(kShapes[1].layout, 19, DType::kBf16, GetParam(), 1);
    cache.FillRandom(9);
    const auto first = Encode(cache, codec + ",select=value_norm,keep_ratio=0.5");
    const auto second = Encode(cache, codec + ",select=value_norm,keep_ratio=0.5");
    ASSERT_TRUE(first.ok() && second.ok()) << first.status();
    EXPECT_EQ(first->data, second->data) << codec;
    EXPECT_EQ(first->positions, second->positions) << codec;
  }
}

// Frames and decoded caches, to the bit, in every combination of input type, codec and shape.
TEST_P(CodecContractTest, GivesTheCpusBits) {
  SKIP_WITHOUT(GetParam());
  for (const Shape& shape : kShapes) {
    for (const DType dtype : kTypes) {
      for (const std::string& codec : AllCodecs()) {
        for (const std::string select :
             {"", ",select=strided,keep_ratio=0.3", ",select=key_norm,keep_ratio=0.6",
              ",select=value_norm,indices=per_layer,keep_ratio=0.4"}) {
          TestCache reference(shape.layout, shape.num_tokens, dtype, DeviceType::kCpu, shape.gap);
          TestCache cache(shape.layout, shape.num_tokens, dtype, GetParam(), shape.gap);
          reference.FillRandom(21);
          cache.FillRandom(21);
          const auto expected = Encode(reference, codec + select);
          const auto frame = Encode(cache, codec + select);
          ASSERT_TRUE(expected.ok() && frame.ok()) << expected.status() << frame.status();
          ASSERT_EQ(frame->positions, expected->positions) << codec << select;
          ASSERT_EQ(frame->data, expected->data) << codec << select;

          const int64_t kept = frame->num_kept();
          TestCache reference_out(shape.layout, kept, dtype, DeviceType::kCpu, shape.gap);
          TestCache out(shape.layout, kept, dtype, GetParam(), shape.gap);
          ASSERT_TRUE(DecodeCache(*expected, reference_out.View()).ok());
          ASSERT_TRUE(DecodeCache(*frame, out.View()).ok());
          ASSERT_EQ(out.Bytes(), reference_out.Bytes()) << codec << select;
        }
      }
    }
  }
}

// Quotients on and next to every tie, where a product with a reciprocal would round the other way.
TEST_P(CodecContractTest, RoundsTiesLikeTheCpu) {
  SKIP_WITHOUT(GetParam());
  constexpr KvLayout kLayout = {.num_layers = 1, .num_kv_heads = 1, .head_dim = 64};
  constexpr int64_t kTokens = 3000;
  std::mt19937 random(4);
  std::vector<float> values;
  for (int64_t t = 0; t < 2 * kTokens; ++t) {
    const float scale =
        std::bit_cast<float>(0x3c000000u + static_cast<uint32_t>(random() % (1u << 25)));
    for (int d = 0; d < 64; ++d) {
      float x = (static_cast<float>(random() % 127) + 0.5f) * scale;
      const int step = static_cast<int>(random() % 3) - 1;
      if (step != 0) x = std::nextafter(x, step > 0 ? 1e30f : -1e30f);
      values.push_back(d == 0 ? 127.0f * scale : x);
    }
  }
  for (const std::string codec :
       {"int8,scale=fp32", "int8", "int4,scale=fp32", "int4,scale=bf16"}) {
    TestCache reference(kLayout, kTokens, DType::kFp32, DeviceType::kCpu);
    TestCache cache(kLayout, kTokens, DType::kFp32, GetParam());
    for (TestCache* each : {&reference, &cache}) {
      each->Fill([&](int, Half half, int64_t t, int, int d) {
        return values[((half == Half::kKey ? 0 : kTokens) + t) * 64 + d];
      });
    }
    const auto expected = Encode(reference, codec);
    const auto frame = Encode(cache, codec);
    ASSERT_TRUE(expected.ok() && frame.ok()) << expected.status() << frame.status();
    EXPECT_EQ(frame->data, expected->data) << codec;
  }
}

TEST_P(CodecContractTest, SendsAndWritesOnlyTheLayersAsked) {
  SKIP_WITHOUT(GetParam());
  TestCache cache({.num_layers = 4, .num_kv_heads = 1, .head_dim = 8}, 3, DType::kBf16, GetParam());
  cache.FillRandom(2);
  KvCacheView view = cache.View();
  view.keys[0].data = nullptr;  // nobody reads layers 0 and 2
  view.values[2].data = nullptr;
  const auto frame = EncodeCache(view, KvLayerSet::Both({1, 3}), Spec("bf16"));
  ASSERT_TRUE(frame.ok()) << frame.status();
  ASSERT_EQ(frame->blocks.size(), 4u);
  EXPECT_EQ(frame->blocks[2].layer, 3);
  EXPECT_EQ(FormulaBytes(*frame), 3u * 1 * 8 * 2 * 2 * 2);

  TestCache out({.num_layers = 4, .num_kv_heads = 1, .head_dim = 8}, 3, DType::kBf16, GetParam());
  const std::vector<float> untouched = out.Values();
  ASSERT_TRUE(DecodeCache(*frame, out.View()).ok());
  const std::vector<float> values = out.Values();
  const std::vector<float> original = cache.Values();
  for (size_t i = 0; i < values.size(); ++i) {
    const bool sent = i / (2 * 3 * 8) % 2 == 1;
    EXPECT_EQ(values[i], sent ? original[i] : untouched[i]) << i;
  }
}

TEST_P(CodecContractTest, RefusesNonFiniteValuesNamingLayerHalfTokenAndHead) {
  SKIP_WITHOUT(GetParam());
  constexpr KvLayout kLayout = {.num_layers = 3, .num_kv_heads = 2, .head_dim = 9};
  for (const DType dtype : kTypes) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
          -std::numeric_limits<float>::infinity()}) {
      TestCache cache(kLayout, 4, dtype, GetParam());
      cache.Fill([&](int layer, Half half, int64_t t, int h, int d) {
        return layer == 1 && half == Half::kValue && t == 3 && h == 1 && d == 8 ? bad : 1.0f;
      });
      for (const std::string& codec : AllCodecs()) {
        const absl::Status status = Encode(cache, codec).status();
        EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
        EXPECT_THAT(std::string(status.message()),
                    HasSubstr("layer 1 value holds NaN or infinity at token 3, head 1: expected"));
      }
      // A token that is not sent is not looked at.
      EXPECT_TRUE(Encode(cache, "int8,select=front,keep_tokens=3").ok());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, CodecContractTest,
                         testing::Values(DeviceType::kCpu, DeviceType::kCuda),
                         [](const auto& info) { return DeviceText(info.param); });

#ifndef QC2C_ENABLE_CUDA
TEST(CodecWithoutCudaTest, RefusesAGpuCache) {
  TestCache cache({.num_layers = 1, .num_kv_heads = 1, .head_dim = 2}, 1, DType::kFp32,
                  DeviceType::kCpu);
  cache.FillRandom(1);
  const auto frame = Encode(cache, "int8");
  ASSERT_TRUE(frame.ok());
  KvCacheView view = cache.View();
  view.device = DeviceType::kCuda;
  for (const absl::Status& status :
       {EncodeCache(view, KvLayerSet::Both({0}), Spec("int8")).status(),
        DecodeCache(*frame, view)}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("built without CUDA"));
  }
}
#endif

}  // namespace
}  // namespace qc2c
