#include "common/codec/treatment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "common/codec/scheme_bounds.h"
#include "common/codec/test_cache.h"

namespace qc2c {
namespace {

using testing::HasSubstr;

constexpr uint64_t kCalibration = 0x0123456789abcdef;
constexpr char kMeans[] = ",rotation=remove,mean=calibrated,calibration=0123456789abcdef";

constexpr KvLayout kTreatedLayout = {.num_layers = 3, .num_kv_heads = 2, .head_dim = 16};
constexpr int64_t kTokens = 21;

// Two lists of frequencies that the layers take in turn, and means that stand out.
ModelFacts FactsOf(const KvLayout& layout) {
  ModelFacts facts;
  for (const double theta : {10000.0, 100.0}) {
    std::vector<float> frequencies;
    for (int i = 0; i < layout.head_dim / 2; ++i) {
      frequencies.push_back(static_cast<float>(std::pow(theta, -2.0 * i / layout.head_dim)));
    }
    facts.rotation.frequencies.push_back(frequencies);
  }
  for (int layer = 0; layer < layout.num_layers; ++layer) {
    facts.rotation.of_layer.push_back(layer % 2);
  }
  ChannelMeans means = {.id = kCalibration, .layout = layout, .keys = {}, .values = {}};
  const int num = layout.num_layers * layout.num_kv_heads * layout.head_dim;
  for (int i = 0; i < num; ++i) {
    means.keys.push_back(static_cast<float>(i % 7) * 3 - 10);
    means.values.push_back(static_cast<float>(i % 5) - 2);
  }
  facts.biases = means;
  facts.calibrations.push_back(std::move(means));
  return facts;
}

bool IsTransformed(const CodecSpec& codec, Half half) {
  const Hadamard own = half == Half::kKey ? Hadamard::kKeys : Hadamard::kValues;
  return codec.treatment.hadamard == Hadamard::kBoth || codec.treatment.hadamard == own;
}

// What treatment.h says, in fp64 and from the definitions: the D treated values of a head.
std::vector<double> Treated(const CodecSpec& codec, const ModelFacts& facts, const KvTensorId& id,
                            const KvLayout& layout, uint32_t position, int head, const float* x) {
  const int dim = layout.head_dim;
  std::vector<double> y(x, x + dim);
  const bool is_key = id.half == Half::kKey;
  if (is_key && codec.treatment.rotation == Rotation::kRemove) {
    const auto& frequencies = facts.rotation.frequencies[facts.rotation.of_layer[id.layer]];
    for (int i = 0; i < dim / 2; ++i) {
      const double angle = static_cast<float>(position) * frequencies[i];
      y[i] = x[i] * std::cos(angle) + x[i + dim / 2] * std::sin(angle);
      y[i + dim / 2] = x[i + dim / 2] * std::cos(angle) - x[i] * std::sin(angle);
    }
  }
  if (codec.treatment.mean != Mean::kKeep) {
    const ChannelMeans& means = facts.calibrations[0];  // the biases are the same
    const int first = (id.layer * layout.num_kv_heads + head) * dim;
    for (int d = 0; d < dim; ++d) y[d] -= (is_key ? means.keys : means.values)[first + d];
  }
  if (!IsTransformed(codec, id.half)) return y;
  std::vector<double> transformed(dim);
  for (int i = 0; i < dim; ++i) {
    for (int d = 0; d < dim; ++d) {
      transformed[i] += std::popcount(static_cast<unsigned>(i & d)) % 2 == 0 ? y[d] : -y[d];
    }
  }
  return transformed;
}

double Length(std::span<const double> x) {
  double squares = 0;
  for (const double value : x) squares += value * value;
  return std::sqrt(squares);
}

const std::string kTreatments[] = {
    ",rotation=remove",
    ",hadamard=keys",
    ",hadamard=values",
    ",hadamard=both",
    ",rotation=remove,hadamard=both",
    kMeans,
    ",rotation=remove,mean=bias",
    std::string(kMeans) + ",hadamard=both",
};
const std::string kSchemes[] = {
    "int8",
    "int4,axis=per_channel",
    "int3,axis=group,group=8,scale=bf16",
    "int2",
    "int2_lloyd,scale=fp32",
    "nf4,axis=per_head",
    "int2_absmax,axis=per_layer",
    "binary,axis=per_channel",
};

std::vector<std::string> AllTreatedCodecs() {
  std::vector<std::string> codecs;
  for (const std::string& scheme : kSchemes) {
    for (const std::string& treatment : kTreatments) codecs.push_back(scheme + treatment);
  }
  for (const std::string scheme : {"fp32", "bf16"}) {
    codecs.push_back(scheme + ",rotation=remove");
    codecs.push_back(scheme + kMeans);
  }
  codecs.push_back("int4,keys=1:bf16,values=0:int8:per_channel,rotation=remove,hadamard=both");
  return codecs;
}

TEST(HadamardTransformTest, IsTheMatrixOfWalshAndTwiceIsTheSizeTimesTheValues) {
  for (const size_t dim : {1u, 2u, 16u, 64u}) {
    std::vector<float> values(dim);
    for (size_t d = 0; d < dim; ++d) values[d] = static_cast<float>(d * d % 13) - 6;  // exact sums
    std::vector<float> transformed = values;
    HadamardTransform(transformed.data(), dim);
    for (size_t i = 0; i < dim; ++i) {
      float sum = 0;
      for (size_t d = 0; d < dim; ++d) {
        sum += std::popcount(i & d) % 2 == 0 ? values[d] : -values[d];
      }
      EXPECT_EQ(transformed[i], sum) << dim << " " << i;
    }
    HadamardTransform(transformed.data(), dim);
    for (size_t d = 0; d < dim; ++d) EXPECT_EQ(transformed[d], values[d] * dim);
  }
}

class TreatmentTest : public testing::TestWithParam<DeviceType> {
 protected:
  absl::StatusOr<KvFrame> Encode(TestCache& cache, const std::string& codec,
                                 std::span<const uint32_t> positions = {}) const {
    return EncodeCache(cache.View(), cache.AllLayers(), Spec(codec),
                       {.facts = &facts_, .token_positions = positions});
  }
  absl::Status Decode(const KvFrame& frame, TestCache& out,
                      std::span<const uint32_t> positions = {}) const {
    return DecodeCache(frame, out.View(), {.facts = &facts_, .token_positions = positions});
  }

  const ModelFacts facts_ = FactsOf(kTreatedLayout);
};

// For each head: |x - x'| against treatment.h's formula.
TEST_P(TreatmentTest, ErrsWithinTheBoundOfItsScheme) {
  SKIP_WITHOUT(GetParam());
  std::vector<uint32_t> positions;
  for (uint32_t t = 0; t < kTokens; ++t) positions.push_back(3 * t + 5);
  for (const std::string& codec : AllTreatedCodecs()) {
    TestCache cache(kTreatedLayout, kTokens, DType::kFp32, GetParam());
    cache.FillRandom(5);
    TestCache out(kTreatedLayout, kTokens, DType::kFp32, GetParam());
    const auto frame = Encode(cache, codec, positions);
    ASSERT_TRUE(frame.ok()) << codec << ": " << frame.status();
    ASSERT_TRUE(Decode(*frame, out, positions).ok());
    const std::vector<float> before = cache.Values();
    const std::vector<float> after = out.Values();
    const int dim = kTreatedLayout.head_dim;
    size_t i = 0;
    for (const KvBlock& block : frame->blocks) {
      const KvTensorId id = {block.layer, block.half};
      const CodecSpec own = frame->codec.Of(block.layer, block.half);
      for (int64_t t = 0; t < kTokens; ++t) {
        for (int h = 0; h < kTreatedLayout.num_kv_heads; ++h, i += dim) {
          const std::vector<double> treated =
              Treated(frame->codec, facts_, id, kTreatedLayout, positions[t], h, before.data() + i);
          std::vector<double> errors, x, error, mean;
          for (int d = 0; d < dim; ++d) {
            const auto y = static_cast<float>(treated[d]);
            const size_t index =
                ScaleIndex(own.scaling(), t, h, d, kTreatedLayout.num_kv_heads, dim);
            const bool has_scale = own.axis != Axis::kNone;
            errors.push_back(
                has_scale ? SchemeErrorBound(own, y,
                                             LoadScale(frame->Scales(block), index, own.scale_type))
                          : std::abs(y) * 0x1p-8f);  // bf16's rounding, more than fp32's
            x.push_back(before[i + d]);
            error.push_back(after[i + d] - before[i + d]);
            mean.push_back(10);  // no mean is larger
          }
          const double stretch = IsTransformed(frame->codec, id.half) ? std::sqrt(dim) : 1.0;
          const double own = Length(errors) / stretch;
          const double bound = own * (1 + 0x1p-18) + 0x1p-18 * (Length(x) + Length(mean));
          ASSERT_LE(Length(error), bound) << codec << " layer " << id.layer << " token " << t;
        }
      }
    }
  }
}

TEST_P(TreatmentTest, GivesTheCpusBits) {
  SKIP_WITHOUT(GetParam());
  for (const KvLayout& layout :
       {kTreatedLayout, KvLayout{.num_layers = 2, .num_kv_heads = 3, .head_dim = 4},
        KvLayout{.num_layers = 2, .num_kv_heads = 1, .head_dim = 128}}) {
    const ModelFacts facts = FactsOf(layout);
    const CodecContext context = {.facts = &facts, .token_positions = {}};
    for (const DType dtype : {DType::kFp32, DType::kBf16, DType::kFp16}) {
      for (const std::string& codec : AllTreatedCodecs()) {
        for (const std::string select :
             {"", ",select=strided,keep_ratio=0.3", ",select=key_norm,keep_ratio=0.6"}) {
          TestCache reference(layout, kTokens, dtype, DeviceType::kCpu, 1);
          TestCache cache(layout, kTokens, dtype, GetParam(), 1);
          reference.FillRandom(21);
          cache.FillRandom(21);
          const CodecSpec spec = Spec(codec + select);
          const auto expected = EncodeCache(reference.View(), reference.AllLayers(), spec, context);
          const auto frame = EncodeCache(cache.View(), cache.AllLayers(), spec, context);
          ASSERT_TRUE(expected.ok() && frame.ok()) << expected.status() << frame.status();
          ASSERT_EQ(frame->positions, expected->positions) << codec << select;
          ASSERT_EQ(frame->data, expected->data) << codec << select;
          const auto kept = static_cast<int64_t>(frame->positions.size());
          TestCache reference_out(layout, kept, dtype, DeviceType::kCpu, 1);
          TestCache out(layout, kept, dtype, GetParam(), 1);
          ASSERT_TRUE(DecodeCache(*expected, reference_out.View(), context).ok());
          ASSERT_TRUE(DecodeCache(*frame, out.View(), context).ok());
          ASSERT_EQ(out.Bytes(), reference_out.Bytes()) << codec << select;
        }
      }
    }
  }
}

// Keys that are one vector, turned to each token's position: without the turns, a scale a channel
// gives every token the same codes. So the positions that count are those of the prompt.
TEST_P(TreatmentTest, KeysThatDifferByTheirPositionAloneHaveTheSameCodes) {
  SKIP_WITHOUT(GetParam());
  const std::vector<uint32_t> positions = {4, 5, 11, 300};
  TestCache cache(kTreatedLayout, 4, DType::kFp32, GetParam());
  cache.Fill([&](int layer, Half, int64_t t, int, int d) {
    const auto& frequencies = facts_.rotation.frequencies[facts_.rotation.of_layer[layer]];
    const int i = d % 8;
    const double angle = static_cast<float>(positions[t]) * frequencies[i];
    // One half of each pair is 0, the other 4, 8, ...: nothing near a tie.
    const double sign = d < 8 ? std::cos(angle) : std::sin(angle);
    return static_cast<float>(4 * (i + 1) * sign);
  });
  const auto codes_of = [&](std::span<const uint32_t> at) {
    const auto frame = Encode(cache, "int8,axis=per_channel,scale=fp32,rotation=remove", at);
    EXPECT_TRUE(frame.ok()) << frame.status();
    const ByteSpan codes = frame->Codes(frame->blocks[0]);
    return std::vector<uint8_t>(codes.begin(), codes.end());
  };
  const size_t token_bytes = 2 * 16;
  const std::vector<uint8_t> codes = codes_of(positions);
  for (size_t t = 0; t < 4; ++t) {
    for (size_t i = 0; i < token_bytes; i += 16) {
      for (size_t d = 0; d < 8; ++d) EXPECT_EQ(codes[t * token_bytes + i + d], 127) << t;
    }
  }
  EXPECT_NE(codes_of({}), codes);
}

TEST_P(TreatmentTest, ZerosOneTokenAndDenormalsComeBackAsTheirSchemePromises) {
  SKIP_WITHOUT(GetParam());
  for (const std::string& codec : AllTreatedCodecs()) {
    for (const float value : {0.0f, 0x1p-149f, 0x1p-130f}) {
      TestCache cache(kTreatedLayout, 1, DType::kFp32, GetParam());
      cache.Fill([&](int, Half, int64_t, int, int) { return value; });
      const auto frame = Encode(cache, codec);
      ASSERT_TRUE(frame.ok()) << codec << ": " << frame.status();
      ASSERT_TRUE(Decode(*frame, cache).ok());
      const bool has_mean = Spec(codec).treatment.mean != Mean::kKeep;
      // Without a mean everything is too small for a scale; with one, the mean is what is coded.
      for (const float after : cache.Values()) {
        ASSERT_TRUE(has_mean ? std::isfinite(after) : std::abs(after) <= 0x1p-120f)
            << codec << " of " << value << " is " << after;
      }
    }
  }
}

TEST_P(TreatmentTest, RefusesNonFiniteValuesNamingLayerHalfTokenAndHead) {
  SKIP_WITHOUT(GetParam());
  for (const std::string& codec : AllTreatedCodecs()) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      TestCache cache(kTreatedLayout, 4, DType::kFp32, GetParam());
      cache.Fill([&](int layer, Half half, int64_t t, int h, int d) {
        return layer == 1 && half == Half::kKey && t == 3 && h == 1 && d == 8 ? bad : 1.0f;
      });
      const absl::Status status = Encode(cache, codec).status();
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << codec << status;
      EXPECT_THAT(std::string(status.message()),
                  HasSubstr("layer 1 key holds NaN or infinity at token 3, head 1"));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, TreatmentTest,
                         testing::Values(DeviceType::kCpu, DeviceType::kCuda),
                         [](const auto& info) { return DeviceText(info.param); });

// Why a cache of `layout` with `facts` cannot be encoded.
absl::Status Refusal(const std::string& codec, const KvLayout& layout, const ModelFacts* facts,
                     std::span<const uint32_t> positions = {}) {
  TestCache cache(layout, 3, DType::kFp32, DeviceType::kCpu);
  cache.FillRandom(1);
  return EncodeCache(cache.View(), cache.AllLayers(), Spec(codec),
                     {.facts = facts, .token_positions = positions})
      .status();
}

TEST(TreatmentRefusalTest, WhatIsMissingIsNamed) {
  const ModelFacts facts = FactsOf(kTreatedLayout);
  const absl::Status unknown = Refusal("int8,rotation=remove", kTreatedLayout, nullptr);
  EXPECT_TRUE(absl::IsFailedPrecondition(unknown));
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("how the model rotates its keys"));

  ModelFacts without = facts;
  without.calibrations.clear();
  const absl::Status absent = Refusal(std::string("int8") + kMeans, kTreatedLayout, &without);
  EXPECT_TRUE(absl::IsFailedPrecondition(absent));
  EXPECT_THAT(std::string(absent.message()),
              HasSubstr("calibration is '0123456789abcdef', which was not loaded here"));
  without = facts;
  without.calibrations[0].layout.num_layers = 1;
  EXPECT_THAT(
      std::string(Refusal(std::string("int8") + kMeans, kTreatedLayout, &without).message()),
      HasSubstr("is of a cache of [L=1, H=2, D=16]: expected [L=3"));

  without.biases.reset();
  EXPECT_THAT(
      std::string(Refusal("int8,rotation=remove,mean=bias", kTreatedLayout, &without).message()),
      HasSubstr("the model's projections of keys and values have none"));

  const std::vector<uint32_t> few = {0, 1};
  EXPECT_THAT(std::string(Refusal("int8,rotation=remove", kTreatedLayout, &facts, few).message()),
              HasSubstr("token_positions has 2 entries: expected one for token 2"));
}

TEST(TreatmentRefusalTest, AHeadSizeThatDoesNotFitIsNamed) {
  const KvLayout odd = {.num_layers = 1, .num_kv_heads = 1, .head_dim = 7};
  const ModelFacts facts = FactsOf(odd);
  EXPECT_THAT(std::string(Refusal("int8,rotation=remove", odd, &facts).message()),
              HasSubstr("head_dim is 7: expected an even number"));
  EXPECT_THAT(std::string(Refusal("int8,hadamard=keys", odd, &facts).message()),
              HasSubstr("hadamard is 'keys': expected off, as head_dim is 7, no power of two"));
}

std::string WhyNot(const std::string& codec) {
  const auto spec = CodecSpec::Parse(codec);
  EXPECT_TRUE(absl::IsInvalidArgument(spec.status())) << codec;
  return std::string(spec.status().message());
}

TEST(TreatmentSpecTest, EveryTextComesBack) {
  for (const std::string& codec : AllTreatedCodecs()) {
    const CodecSpec spec = Spec(codec);
    EXPECT_EQ(Spec(spec.ToString()), spec) << codec;
    EXPECT_THAT(spec.ToString(), HasSubstr(codec.substr(codec.rfind(','))));
  }
  EXPECT_EQ(Spec("int8,rotation=keep,mean=keep,hadamard=off"), Spec("int8"));
}

TEST(TreatmentSpecTest, WhatDoesNotGoTogetherIsRefusedByName) {
  EXPECT_THAT(WhyNot("int8,rotation=on"), HasSubstr("rotation is 'on': expected keep, remove"));
  EXPECT_THAT(WhyNot("int8,mean=no"), HasSubstr("mean is 'no': expected keep, calibrated, bias"));
  EXPECT_THAT(WhyNot("int8,hadamard=on"),
              HasSubstr("hadamard is 'on': expected off, keys, values, both"));
  EXPECT_THAT(WhyNot("bf16,hadamard=both"),
              HasSubstr("hadamard is 'both': expected off, as bf16 has no scales"));
  EXPECT_THAT(WhyNot("int8,mean=calibrated,calibration=0123456789abcdef"),
              HasSubstr("mean is 'calibrated': expected none without rotation=remove"));
  EXPECT_THAT(WhyNot("int8,rotation=remove,mean=calibrated"),
              HasSubstr("calibration is '': expected 16 hexadecimal digits"));
  EXPECT_THAT(WhyNot("int8,calibration=0123456789abcdef"),
              HasSubstr("calibration is '0123456789abcdef': expected none without"));
  for (const std::string id : {"", "1", "0000000000000000", "0123456789abcdeg"}) {
    EXPECT_THAT(WhyNot("int8,calibration=" + id), HasSubstr("calibration is '" + id + "'"));
  }
}

}  // namespace
}  // namespace qc2c
