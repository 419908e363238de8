#include "experiments/bench/codec_measurement.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace qc2c {
namespace {

constexpr KvLayout kLayout = {.num_layers = 2, .num_kv_heads = 2, .head_dim = 16};
constexpr int64_t kTokens = 20;
constexpr int64_t kPlane = kTokens * 2 * 16;

// Keys twice as large as values.
class RandomCache {
 public:
  RandomCache() : memory_(4 * kPlane) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    view_ = {.layout = kLayout, .num_tokens = kTokens};
    for (size_t i = 0; i < memory_.size(); ++i) {
      memory_[i] = normal(random) * (static_cast<int64_t>(i) / kPlane % 2 == 0 ? 2.0f : 1.0f);
    }
    for (int64_t plane = 0; plane < 4; ++plane) {
      (plane % 2 == 0 ? view_.keys : view_.values)
          .push_back({memory_.data() + plane * kPlane, 2 * 16, 16});
    }
  }
  const KvCacheView& view() const { return view_; }

 private:
  std::vector<float> memory_;
  KvCacheView view_;
};

CodecMeasurement Measure(const std::string& codec, int times = 1) {
  const RandomCache cache;
  CodecMeasurement sums;
  sums.codec = CodecSpec::Parse(codec).value();
  for (int i = 0; i < times; ++i) {
    const absl::Status status = MeasureCodec(cache.view(), sums);
    EXPECT_TRUE(status.ok()) << status;
  }
  return sums;
}

TEST(CodecMeasurementTest, ALosslessCodecHasNoErrorAndItsBitsAndTheHeaderAreCounted) {
  const CodecMeasurement fp32 = Measure("fp32");
  EXPECT_EQ(fp32.keys.squared_error, 0);
  EXPECT_EQ(fp32.values.squared_error, 0);
  EXPECT_EQ(fp32.keys.num_values, 2 * kPlane);
  EXPECT_EQ(fp32.bytes.payload, 4 * kPlane * 4);
  EXPECT_GT(fp32.BitsPerValue(), 32);
  EXPECT_DOUBLE_EQ(fp32.BitsPerValue(), 8.0 * fp32.bytes.tx / (4 * kPlane));
  EXPECT_TRUE(std::isinf(fp32.keys.SignalToNoiseDb()));
}

// A step of amax / 127 and an even error within it: step^2 / 12. For a row of 16 normal values amax
// lies between one and four sigma.
TEST(CodecMeasurementTest, TheErrorOfInt8IsThatOfItsStepAndKeysAreApartFromValues) {
  const CodecMeasurement int8 = Measure("int8,scale=fp32");
  for (const auto& [error, sigma] : {std::pair(int8.keys, 2.0), std::pair(int8.values, 1.0)}) {
    EXPECT_GT(error.MeanSquaredError(), std::pow(sigma * 1 / 127, 2) / 12);
    EXPECT_LT(error.MeanSquaredError(), std::pow(sigma * 4 / 127, 2) / 12);
    EXPECT_NEAR(error.energy / error.num_values, sigma * sigma, 0.1 * sigma * sigma);
    EXPECT_NEAR(error.SignalToNoiseDb(),
                10 * std::log10(error.energy / error.num_values / error.MeanSquaredError()), 1e-9);
  }
}

TEST(CodecMeasurementTest, EntropyCodingChangesBytesAloneAndASelectionCountsWhatIsSent) {
  const CodecMeasurement plain = Measure("int4,axis=per_layer");
  const CodecMeasurement coded = Measure("int4,axis=per_layer,entropy=rans");
  EXPECT_EQ(coded.keys.squared_error, plain.keys.squared_error);
  EXPECT_LT(coded.bytes.payload, plain.bytes.payload);
  EXPECT_EQ(coded.bytes.scales, plain.bytes.scales);
  const CodecMeasurement back = Measure("int4,axis=per_layer,select=back,keep_ratio=0.5");
  EXPECT_EQ(back.keys.num_values, plain.keys.num_values / 2);
}

TEST(CodecMeasurementTest, CachesAddUp) {
  const CodecMeasurement one = Measure("int8");
  const CodecMeasurement three = Measure("int8", 3);
  EXPECT_EQ(three.num_caches, 3u);
  EXPECT_EQ(three.bytes.tx, 3 * one.bytes.tx);
  EXPECT_DOUBLE_EQ(three.BitsPerValue(), one.BitsPerValue());
  EXPECT_GT(three.encode_seconds, 0);
}

TEST(CodecMeasurementTest, WhatACodecCannotEncodeIsItsErrorAndAddsNothing) {
  std::vector<float> memory(4 * kPlane, 1e6f);  // above fp16's largest number
  KvCacheView view = {.layout = kLayout, .num_tokens = kTokens};
  for (int64_t plane = 0; plane < 4; ++plane) {
    (plane % 2 == 0 ? view.keys : view.values).push_back({memory.data() + plane * kPlane, 32, 16});
  }
  CodecMeasurement sums;
  sums.codec = CodecSpec::Parse("fp16").value();
  EXPECT_EQ(MeasureCodec(view, sums).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(sums.num_caches, 0u);
  EXPECT_EQ(sums.bytes.tx, 0u);
}

}  // namespace
}  // namespace qc2c
