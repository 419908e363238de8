#include "common/codec/selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/codec/test_cache.h"

namespace qc2c {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(LargestScoresTest, KeepsTheEarlierOfEqualScores) {
  const std::vector<float> scores = {1, 3, 2, 3, 2, 2, 0};
  EXPECT_THAT(LargestScores(scores, 1), ElementsAre(1));
  EXPECT_THAT(LargestScores(scores, 3), ElementsAre(1, 2, 3));
  EXPECT_THAT(LargestScores(scores, 4), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(LargestScores(scores, 7), ElementsAre(0, 1, 2, 3, 4, 5, 6));
}

std::vector<uint32_t> Fixed(const std::string& codec, uint32_t num_tokens) {
  const CodecSpec spec = Spec("int8,select=" + codec);
  return FixedPositions(spec, num_tokens, spec.NumKept(num_tokens));
}

TEST(FixedPositionsTest, StridedIsEvenlySpacedAndEndsWithTheLastToken) {
  EXPECT_THAT(Fixed("strided,keep_tokens=1", 10), ElementsAre(9));
  EXPECT_THAT(Fixed("strided,keep_tokens=2", 10), ElementsAre(4, 9));
  EXPECT_THAT(Fixed("strided,keep_tokens=4", 10), ElementsAre(2, 4, 7, 9));
  EXPECT_THAT(Fixed("strided,keep_tokens=9", 10), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_THAT(Fixed("strided,keep_tokens=10", 10), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  const std::vector<uint32_t> many = Fixed("strided,keep_tokens=300000", 1 << 20);
  for (size_t i = 1; i < many.size(); ++i) {
    EXPECT_GE(many[i] - many[i - 1], 3u);
    EXPECT_LE(many[i] - many[i - 1], 4u);
  }
}

TEST(FixedPositionsTest, SinksAreTheFrontAndTheRestIsTheBack) {
  EXPECT_THAT(Fixed("sinks,sinks=2,keep_tokens=5", 10), ElementsAre(0, 1, 7, 8, 9));
  EXPECT_THAT(Fixed("sinks,sinks=4,keep_tokens=4", 10), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(Fixed("sinks,sinks=4,keep_tokens=2", 10), ElementsAre(0, 1));
  EXPECT_THAT(Fixed("sinks,sinks=2,keep_tokens=9", 4), ElementsAre(0, 1, 2, 3));
}

// The first outputs of SplitMix64, from its reference implementation's state 0 and 1: the two
// positions of seed 0 are ordered by them.
TEST(FixedPositionsTest, RandomKeepsTheSmallestOfSplitMix64) {
  // mix(0) = e220a8397b1dcdaf, mix(1) = 910a2dec89025cc1.
  EXPECT_THAT(Fixed("random,keep_tokens=1", 2), ElementsAre(1));
  EXPECT_EQ(Fixed("random,seed=5,keep_tokens=7", 100), Fixed("random,seed=5,keep_tokens=7", 100));
  EXPECT_NE(Fixed("random,seed=5,keep_tokens=7", 100), Fixed("random,seed=6,keep_tokens=7", 100));
  // Each of 64 tokens is kept by about half of 1,000 seeds: within five standard deviations.
  std::vector<int> kept(64, 0);
  for (int seed = 0; seed < 1000; ++seed) {
    for (const uint32_t p : Fixed("random,keep_tokens=32,seed=" + std::to_string(seed), 64)) {
      ++kept[p];
    }
  }
  for (const int count : kept) EXPECT_NEAR(count, 500, 5 * std::sqrt(250.0));
}

class SelectionTest : public testing::TestWithParam<DeviceType> {
 protected:
  // The positions that encoding with `codec` keeps.
  std::vector<uint32_t> Positions(TestCache& cache, const std::string& codec) {
    const auto frame = Encode(cache, codec);
    EXPECT_TRUE(frame.ok()) << frame.status();
    return frame.ok() ? frame->positions : std::vector<uint32_t>();
  }
};

TEST_P(SelectionTest, FrontAndBackKeepTheEnds) {
  SKIP_WITHOUT(GetParam());
  TestCache cache({.num_layers = 1, .num_kv_heads = 1, .head_dim = 4}, 5, DType::kFp32, GetParam());
  cache.FillRandom(1);
  EXPECT_THAT(Positions(cache, "int8"), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(Positions(cache, "int8,select=front,keep_ratio=0.5"), ElementsAre(0, 1, 2));
  EXPECT_THAT(Positions(cache, "int8,select=back,keep_ratio=0.5"), ElementsAre(2, 3, 4));
  EXPECT_THAT(Positions(cache, "int8,select=back,keep_tokens=1"), ElementsAre(4));
  EXPECT_THAT(Positions(cache, "int8,select=front,keep_tokens=9"), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(Positions(cache, "int8,select=sinks,sinks=1,keep_tokens=2"), ElementsAre(0, 4));
  EXPECT_THAT(Positions(cache, "int8,select=strided,keep_tokens=2"), ElementsAre(2, 4));
}

// Tokens 1 and 3 have the large keys, tokens 0 and 4 the large values.
TEST_P(SelectionTest, NormsKeepTheLargestOfTheirHalf) {
  SKIP_WITHOUT(GetParam());
  TestCache cache({.num_layers = 2, .num_kv_heads = 2, .head_dim = 4}, 5, DType::kBf16, GetParam());
  cache.Fill([](int, Half half, int64_t t, int, int d) {
    const bool large = half == Half::kKey ? t == 1 || t == 3 : t == 0 || t == 4;
    return (large ? 8.0f : 1.0f) * (d % 2 == 0 ? 1.0f : -1.0f);
  });
  EXPECT_THAT(Positions(cache, "int4,select=key_norm,keep_ratio=0.4"), ElementsAre(1, 3));
  EXPECT_THAT(Positions(cache, "int4,select=value_norm,keep_ratio=0.4"), ElementsAre(0, 4));
  EXPECT_THAT(Positions(cache, "bf16,select=value_norm,keep_tokens=3"), ElementsAre(0, 1, 4));
}

TEST_P(SelectionTest, OfEqualNormsTheEarlierTokenIsKept) {
  SKIP_WITHOUT(GetParam());
  TestCache cache({.num_layers = 1, .num_kv_heads = 2, .head_dim = 8}, 6, DType::kFp32, GetParam());
  cache.Fill([](int, Half, int64_t, int, int) { return 1.0f; });
  EXPECT_THAT(Positions(cache, "int8,select=key_norm,keep_tokens=2"), ElementsAre(0, 1));
}

// So that the tokens of a half that nobody reads do not change with it.
TEST_P(SelectionTest, EveryLayerCountsSentOrNot) {
  SKIP_WITHOUT(GetParam());
  TestCache cache({.num_layers = 2, .num_kv_heads = 1, .head_dim = 4}, 3, DType::kFp32, GetParam());
  cache.Fill([](int layer, Half, int64_t t, int, int) {
    return layer == 0 ? (t == 0 ? 100.0f : 1.0f) : (t == 2 ? 5.0f : 1.0f);
  });
  const CodecSpec codec = Spec("int8,select=key_norm,keep_tokens=1");
  for (const KvLayerSet& layers :
       {KvLayerSet::Both({1}), KvLayerSet{.keys = {1}}, KvLayerSet{.values = {0}}}) {
    const auto frame = EncodeCache(cache.View(), layers, codec);
    ASSERT_TRUE(frame.ok()) << frame.status();
    EXPECT_THAT(frame->positions, ElementsAre(0));
  }
  KvCacheView without = cache.View();
  without.keys[0].data = nullptr;
  EXPECT_THAT(std::string(EncodeCache(without, {.values = {1}}, codec).status().message()),
              HasSubstr("layer 0 key is absent"));
}

// The definition in fp64, on norms far enough apart that no rounding decides.
TEST_P(SelectionTest, AgreesWithTheDefinitionOnRandomCaches) {
  SKIP_WITHOUT(GetParam());
  constexpr KvLayout kLayout = {.num_layers = 3, .num_kv_heads = 2, .head_dim = 37};
  constexpr int kTokens = 2500;
  TestCache cache(kLayout, kTokens, DType::kFp32, GetParam(), 3);
  cache.FillRandom(11);
  const std::vector<float> values = cache.Values();
  std::vector<double> scores(kTokens, 0.0);
  for (int l = 0; l < 3; ++l) {
    for (int t = 0; t < kTokens; ++t) {
      double norms = 0.0;
      for (int h = 0; h < 2; ++h) {
        double squares = 0.0;
        for (int d = 0; d < 37; ++d) {
          const double x = values[(((2 * l + 1) * kTokens + t) * 2 + h) * 37 + d];
          squares += x * x;
        }
        norms += std::sqrt(squares);
      }
      scores[t] += norms / 2;
    }
  }
  const auto frame = Encode(cache, "int8,select=value_norm,keep_tokens=700");
  ASSERT_TRUE(frame.ok()) << frame.status();
  ASSERT_EQ(frame->positions.size(), 700u);
  std::vector<double> sorted = scores;
  std::ranges::sort(sorted, std::greater());
  // A score is at most 3 * 2 * 6 * sqrt(37) = 220; fp32 loses less than 60 roundings of it.
  const double slack = 60 * 220 * 0x1p-24;
  std::vector<bool> kept(kTokens, false);
  for (const uint32_t position : frame->positions) kept[position] = true;
  for (int t = 0; t < kTokens; ++t) {
    if (scores[t] > sorted[700] + slack) {
      EXPECT_TRUE(kept[t]) << t;
    }
    if (scores[t] < sorted[699] - slack) {
      EXPECT_FALSE(kept[t]) << t;
    }
  }
}

// Layer 0 has its large keys at tokens 1 and 3, layer 1 at 0 and 4, layer 2 at 2 and 3.
TEST_P(SelectionTest, WithAnIndexSetALayerEachSentLayerKeepsItsOwn) {
  SKIP_WITHOUT(GetParam());
  TestCache cache({.num_layers = 3, .num_kv_heads = 2, .head_dim = 8}, 5, DType::kBf16, GetParam());
  cache.Fill([](int layer, Half half, int64_t t, int h, int d) {
    constexpr int64_t kLarge[][2] = {{1, 3}, {0, 4}, {2, 3}};
    const bool large = half == Half::kKey && (t == kLarge[layer][0] || t == kLarge[layer][1]);
    return static_cast<float>((large ? 32 : 0) + 16 * layer + 8 * h + t) + (d % 2 == 0 ? .5f : 0);
  });
  const KvLayerSet layers = {.keys = {2}, .values = {0, 2}};
  const CodecSpec codec = Spec("fp32,select=key_norm,indices=per_layer,keep_tokens=2");
  const auto frame = EncodeCache(cache.View(), layers, codec);
  ASSERT_TRUE(frame.ok()) << frame.status();
  EXPECT_THAT(frame->positions, ElementsAre(1, 3, 2, 3));
  EXPECT_THAT(frame->PositionsOf(2), ElementsAre(2, 3));
  EXPECT_EQ(frame->num_kept(), 2u);

  TestCache out({.num_layers = 3, .num_kv_heads = 2, .head_dim = 8}, 2, DType::kFp32, GetParam());
  ASSERT_TRUE(DecodeCache(*frame, out.View()).ok());
  const std::vector<float> original = cache.Values();
  const std::vector<float> decoded = out.Values();
  const auto expect_rows = [&](int plane, const std::vector<int>& tokens) {
    for (size_t i = 0; i < tokens.size() * 16; ++i) {
      EXPECT_EQ(decoded[plane * 2 * 16 + i], original[(plane * 5 + tokens[i / 16]) * 16 + i % 16]);
    }
  };
  expect_rows(1, {1, 3});  // values of layer 0
  expect_rows(4, {2, 3});  // keys of layer 2
  expect_rows(5, {2, 3});

  // A layer that is not sent is not scored.
  KvCacheView without = cache.View();
  without.keys[1].data = nullptr;
  EXPECT_TRUE(EncodeCache(without, layers, codec).ok());
}

// The scores of a GPU's cache lie on the GPU.
class GivenScores {
 public:
  GivenScores(std::vector<float> scores, int64_t num_tokens, DeviceType device)
      : host_(std::move(scores)), stride_(num_tokens) {
    if (device == DeviceType::kCpu) return;
#ifdef QC2C_ENABLE_CUDA
    EXPECT_TRUE(gpu_.Reserve(host_.size() * sizeof(float)).ok());
    EXPECT_EQ(
        cudaMemcpy(gpu_.data(), host_.data(), host_.size() * sizeof(float), cudaMemcpyHostToDevice),
        cudaSuccess);
#endif
  }

  CodecContext Context() {
    CodecContext context;
    context.token_scores = {host_.data(), stride_};
#ifdef QC2C_ENABLE_CUDA
    if (gpu_.data() != nullptr) {
      context.token_scores.data = reinterpret_cast<const float*>(gpu_.data());
    }
#endif
    return context;
  }

 private:
  std::vector<float> host_;
  int64_t stride_;
#ifdef QC2C_ENABLE_CUDA
  CudaBuffer gpu_{CudaMemory::kDevice};
#endif
};

// Summed over the layers tokens 1, 2, 3 have 3, 6, 3; the layers' own largest are 3 and 1, 2 and 0.
TEST_P(SelectionTest, GivenScoresAreAddedOverTheLayersOrDecideByLayer) {
  SKIP_WITHOUT(GetParam());
  TestCache cache({.num_layers = 2, .num_kv_heads = 2, .head_dim = 8}, 4, DType::kBf16, GetParam());
  cache.FillRandom(5);
  GivenScores scores({0, 2, 1, 3, 2, 1, 5, 0}, 4, GetParam());
  const auto positions = [&](const std::string& options) {
    const auto frame = EncodeCache(cache.View(), cache.AllLayers(),
                                   Spec("int8,select=attention," + options), scores.Context());
    EXPECT_TRUE(frame.ok()) << frame.status();
    return frame.ok() ? frame->positions : std::vector<uint32_t>();
  };
  EXPECT_THAT(positions("keep_tokens=1"), ElementsAre(2));
  EXPECT_THAT(positions("keep_tokens=2"), ElementsAre(1, 2));
  EXPECT_THAT(positions("indices=per_layer,keep_tokens=2"), ElementsAre(1, 3, 0, 2));
}

TEST_P(SelectionTest, RefusesScoresThatAreAbsentNotFiniteOrNegative) {
  SKIP_WITHOUT(GetParam());
  TestCache cache({.num_layers = 2, .num_kv_heads = 1, .head_dim = 8}, 3, DType::kFp32, GetParam());
  cache.FillRandom(5);
  const CodecSpec codec = Spec("int8,select=attention,keep_tokens=1");
  const auto refusal = [&](const CodecContext& context) {
    return std::string(
        EncodeCache(cache.View(), cache.AllLayers(), codec, context).status().message());
  };
  EXPECT_THAT(refusal({}), HasSubstr("select is attention, whose scores are not known here"));
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -1.0f}) {
    GivenScores scores({1, 2, 3, 4, bad, 6}, 3, GetParam());
    EXPECT_THAT(refusal(scores.Context()), HasSubstr("layer 1 gives token 1 a score of"));
  }
}

// Every token's score is read, so a token that would be dropped cannot hide a NaN either.
TEST_P(SelectionTest, RefusesNonFiniteValuesOfTheScoredHalf) {
  SKIP_WITHOUT(GetParam());
  TestCache cache({.num_layers = 3, .num_kv_heads = 2, .head_dim = 9}, 4, DType::kBf16, GetParam());
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    cache.Fill([&](int layer, Half half, int64_t t, int h, int d) {
      return layer == 2 && half == Half::kKey && t == 1 && h == 1 && d == 8 ? bad : 1.0f;
    });
    const absl::Status status = Encode(cache, "int8,select=key_norm,keep_tokens=1").status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("layer 2 key holds NaN or infinity at token 1, head 1"));
    // Values are scored, and the one kept key is finite.
    EXPECT_TRUE(Encode(cache, "int8,select=value_norm,keep_tokens=1").ok());
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, SelectionTest,
                         testing::Values(DeviceType::kCpu, DeviceType::kCuda),
                         [](const auto& info) { return DeviceText(info.param); });

}  // namespace
}  // namespace qc2c
