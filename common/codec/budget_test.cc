#include "common/codec/budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "absl/strings/numbers.h"
#include "common/codec/distortion.h"
#include "common/codec/test_cache.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;

// A stand-in for the wire: a few bytes a block and a precision, four a position.
absl::StatusOr<uint64_t> TestBytes(const KvFrame& frame) {
  uint64_t bytes = 40 + 9 * frame.codec.schedule.precisions.size() +
                   frame.codec.schedule.keys.size() + frame.codec.schedule.values.size();
  if (frame.positions.size() < frame.num_tokens) bytes += 4 * frame.positions.size();
  for (const KvBlock& block : frame.blocks) bytes += 8 + block.codes_bytes + block.scales_bytes;
  return bytes;
}

// (own - decoded)^2 over all tensors of `layers`; what is not sent counts as zero.
double ErrorOf(TestCache& cache, const KvLayout& layout, int64_t num_tokens,
               const KvLayerSet& layers, const CodecSpec& codec) {
  const auto frame = EncodeCache(cache.View(), layers, codec);
  EXPECT_TRUE(frame.ok()) << frame.status();
  const auto num_kept = static_cast<int64_t>(frame->positions.size());
  TestCache decoded(layout, num_kept, DType::kFp32, DeviceType::kCpu);
  decoded.Fill([](int, Half, int64_t, int, int) { return 0.0f; });
  EXPECT_TRUE(DecodeCache(*frame, decoded.View()).ok());
  const std::vector<float> own = cache.Values();
  const std::vector<float> sent = decoded.Values();
  const int64_t row = layout.num_kv_heads * layout.head_dim;
  double error = 0;
  for (const auto& [layer, half] : layers.Tensors()) {
    const int64_t plane = layer * 2 + static_cast<int64_t>(half);
    size_t next = 0;
    for (int64_t t = 0; t < num_tokens; ++t) {
      const bool is_sent = next < frame->positions.size() && frame->positions[next] == t;
      for (int64_t i = 0; i < row; ++i) {
        const double a = own[(plane * num_tokens + t) * row + i];
        const double b = is_sent ? sent[(plane * num_kept + next) * row + i] : 0.0;
        error += (a - b) * (a - b);
      }
      if (is_sent) ++next;
    }
  }
  return error;
}

constexpr KvLayout kLayout{.num_layers = 4, .num_kv_heads = 2, .head_dim = 16};

TestCache UnevenCache(int64_t num_tokens, uint32_t seed) {
  TestCache cache(kLayout, num_tokens, DType::kFp32, DeviceType::kCpu);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  cache.Fill([&](int layer, Half half, int64_t t, int, int d) {
    const float size = (half == Half::kKey ? 3.0f : 0.5f) * static_cast<float>(1 + layer % 3);
    return normal(random) * size * (d == 3 ? 8.0f : 1.0f) / static_cast<float>(1 + t % 5);
  });
  return cache;
}

class DistortionTableTest : public testing::Test {};

TEST_F(DistortionTableTest, ErrorsAreThoseOfTheDecodedCache) {
  TestCache cache = UnevenCache(7, 5);
  const std::vector<CodecSpec> precisions = {Spec("int8"), Spec("int4,axis=per_channel"),
                                             Spec("nf4,axis=group,group=8"), Spec("bf16")};
  const KvCacheView view = cache.View();
  const auto table = DistortionTable::Measure(view, {{1, Half::kKey}}, precisions);
  ASSERT_TRUE(table.ok()) << table.status();
  const KvLayerSet layers{.keys = {1}};
  for (size_t p = 0; p < precisions.size(); ++p) {
    CodecSpec codec = precisions[p];
    codec.selection = Selection::kBack;
    codec.keep = Keep(uint32_t{3});
    const double expected = ErrorOf(cache, kLayout, 7, layers, codec);
    EXPECT_NEAR(table->Sent(0, p, std::vector<uint32_t>{4, 5, 6}), expected, 1e-5 * expected);
  }
}

TEST_F(DistortionTableTest, AValueThatIsTooLargeForAPrecisionMakesItImpossible) {
  TestCache cache = UnevenCache(3, 1);
  cache.Fill([](int, Half, int64_t, int, int) { return 1e6f; });
  const KvCacheView view = cache.View();
  const auto table =
      DistortionTable::Measure(view, {{0, Half::kValue}}, {Spec("fp16"), Spec("bf16")});
  ASSERT_TRUE(table.ok());
  EXPECT_TRUE(std::isinf(table->Sent(0, 0, std::vector<uint32_t>{1})));
  EXPECT_FALSE(std::isinf(table->Sent(0, 1, std::vector<uint32_t>{1})));
}

class BudgetTest : public testing::Test {
 protected:
  absl::StatusOr<BudgetPlan> Plan(TestCache& cache, const std::string& codec,
                                  const TensorWeights& weights = {}) {
    return PlanBudget(cache.View(), cache.AllLayers(), Spec(codec), weights, TestBytes);
  }
};

// The property: for any cache and budget the frame is within it, its distortion is what was said,
// and no uniform precision with any number of tokens that fits is better.
TEST_F(BudgetTest, AnyBudgetIsKeptAndNoUniformFrameThatFitsIsBetter) {
  std::mt19937 random(7);
  for (int trial = 0; trial < 40; ++trial) {
    const int64_t num_tokens = 1 + random() % 24;
    TestCache cache = UnevenCache(num_tokens, trial);
    const KvLayerSet layers = cache.AllLayers();
    const uint64_t budget = 150 + random() % (num_tokens * 4 * 2 * 2 * 16);
    const char* select = trial % 3 == 0 ? "" : trial % 3 == 1 ? ",select=back" : ",select=strided";
    const std::string text = absl::StrCat("int8", select, ",budget_bytes=", budget);
    SCOPED_TRACE(text);
    const auto plan = Plan(cache, text);
    if (!plan.ok()) {
      EXPECT_THAT(std::string(plan.status().message()), HasSubstr("budget_bytes is"));
      continue;
    }
    EXPECT_TRUE(CheckResolved(Spec(text), plan->codec, num_tokens).ok());
    const auto frame = EncodeCache(cache.View(), layers, plan->codec);
    ASSERT_TRUE(frame.ok()) << frame.status();
    EXPECT_LE(TestBytes(*frame).value(), budget);
    EXPECT_EQ(TestBytes(*frame).value(), plan->bytes);
    const double error = ErrorOf(cache, kLayout, num_tokens, layers, plan->codec);
    EXPECT_NEAR(plan->distortion, error, 1e-4 * error + 1e-6);
    for (const char* scheme :
         {"int8", "nf4", "int4", "int3", "int2_lloyd", "binary", "int8,axis=per_channel",
          "int4,axis=per_channel", "int3,axis=per_channel", "int2_lloyd,axis=per_channel"}) {
      for (uint32_t num_kept = 1; num_kept <= num_tokens; ++num_kept) {
        CodecSpec uniform = Spec(scheme);
        uniform.selection = plan->codec.selection;
        uniform.keep = Keep(num_kept);
        const auto other = EncodeCache(cache.View(), layers, uniform);
        ASSERT_TRUE(other.ok());
        if (TestBytes(*other).value() > budget) break;
        EXPECT_LE(error, ErrorOf(cache, kLayout, num_tokens, layers, uniform) * (1 + 1e-6))
            << uniform.ToString();
      }
    }
  }
}

TEST_F(BudgetTest, ABudgetForEverythingGivesEveryTensorTheCodecsOwnPrecision) {
  TestCache cache = UnevenCache(6, 2);
  const auto plan = Plan(cache, "bf16,budget_bytes=1000000");
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->codec, Spec("bf16,select=value_norm,keep_tokens=6"));
}

TEST_F(BudgetTest, ABudgetTooSmallForOneTokenIsRefusedWithWhatItTakes) {
  TestCache cache = UnevenCache(6, 2);
  const auto status = Plan(cache, "int8,budget_bytes=30").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("budget_bytes is 30: expected at least "));
  EXPECT_THAT(std::string(status.message()), HasSubstr("one tensor with 1 token takes"));
  const auto least = Plan(cache, "int8,select=back,budget_bytes=30").status();
  uint64_t bytes = 0;
  const std::string message(least.message());
  const std::string before = "codec: budget_bytes is 30: expected at least ";
  ASSERT_THAT(message, testing::StartsWith(before));
  const size_t end = message.find_first_not_of("0123456789", before.size());
  ASSERT_TRUE(absl::SimpleAtoi(message.substr(before.size(), end - before.size()), &bytes));
  EXPECT_TRUE(Plan(cache, absl::StrCat("int8,select=back,budget_bytes=", bytes)).ok());
  EXPECT_FALSE(Plan(cache, absl::StrCat("int8,select=back,budget_bytes=", bytes - 1)).ok());
}

TEST_F(BudgetTest, WithoutASelectionAllTokensAreSentOrTheBudgetIsRefused) {
  TestCache cache = UnevenCache(6, 2);
  const auto plan = Plan(cache, "int8,select=all,budget_bytes=400");
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->codec.NumKept(6), 6u);
  EXPECT_THAT(std::string(Plan(cache, "int8,select=all,budget_bytes=60").status().message()),
              HasSubstr("one tensor with 6 tokens takes"));
}

TEST_F(BudgetTest, NoMoreTokensAreSentThanTheCodecSays) {
  TestCache cache = UnevenCache(20, 2);
  // What three tokens of every tensor take in bf16, and a little more.
  const CodecSpec three = Spec("bf16,select=back,keep_tokens=3");
  const auto frame = EncodeCache(cache.View(), cache.AllLayers(), three);
  ASSERT_TRUE(frame.ok()) << frame.status();
  const std::string budget = absl::StrCat("budget_bytes=", TestBytes(*frame).value() + 8);
  const auto free = Plan(cache, absl::StrCat("bf16,select=back,", budget));
  ASSERT_TRUE(free.ok()) << free.status();
  EXPECT_GT(free->codec.NumKept(20), 3u);
  const auto plan = Plan(cache, absl::StrCat("bf16,select=back,keep_tokens=3,", budget));
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->codec.NumKept(20), 3u);
}

TEST_F(BudgetTest, ATensorThatWeighsNothingGetsNothingWhileOthersWant) {
  TestCache cache = UnevenCache(6, 2);
  const auto plan = Plan(cache, "int8,select=all,budget_bytes=500", {.keys = {0, 0, 0, 0}});
  ASSERT_TRUE(plan.ok()) << plan.status();
  for (int32_t layer = 0; layer < 4; ++layer) {
    EXPECT_FALSE(plan->codec.schedule.Sends(layer, Half::kKey)) << plan->codec.ToString();
    EXPECT_TRUE(plan->codec.schedule.Sends(layer, Half::kValue)) << plan->codec.ToString();
  }
}

TEST_F(BudgetTest, AValueThatIsNotFiniteIsRefusedByPlace) {
  TestCache cache = UnevenCache(6, 2);
  cache.Fill([](int layer, Half half, int64_t t, int h, int) {
    return layer == 2 && half == Half::kValue && t == 4 && h == 1 ? NAN : 1.0f;
  });
  const auto status = Plan(cache, "int8,select=back,budget_bytes=500").status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("layer 2 value holds NaN or infinity at token 4, head 1"));
}

TEST_F(BudgetTest, ACodecWithABudgetIsNoFramesCodec) {
  TestCache cache = UnevenCache(6, 2);
  EXPECT_THAT(std::string(Encode(cache, "int8,budget_bytes=500").status().message()),
              HasSubstr("budget_bytes is 500"));
}

TEST_F(BudgetTest, WhatABudgetExcludesIsRefusedByName) {
  for (const auto& [text, message] : std::vector<std::pair<std::string, std::string>>{
           {"int8,select=all,keep_tokens=3,budget_bytes=9", "takes no keep_ratio or keep_tokens"},
           {"int8,keep_ratio=1.5,budget_bytes=9", "keep_ratio is '1.5'"},
           {"int8,keep_tokens_min=2,budget_bytes=9",
            "select is value_norm, which needs keep_ratio"},
           {"int8,keys=0:int4,budget_bytes=9", "budget_bytes and keys and values"},
           {"int8,entropy=rans,budget_bytes=9", "budget_bytes and entropy"},
           {"int8,budget_bytes=0", "budget_bytes is '0'"},
           {"int8,budget_bytes=9,weights=12", "weights is '12'"},
           {"int8,weights=00000000000000ab", "weights is '00000000000000ab'"}}) {
    EXPECT_THAT(std::string(CodecSpec::Parse(text).status().message()), HasSubstr(message));
  }
  for (const char* text : {"int8,budget_bytes=900", "bf16,select=all,budget_bytes=1",
                           "int4,select=sinks,sinks=2,budget_bytes=7,weights=0123456789abcdef",
                           "int4,select=value_norm,keep_tokens=3,budget_bytes=7",
                           "int4,select=back,keep_ratio=0.5,keep_tokens_min=2,budget_bytes=7"}) {
    EXPECT_EQ(Spec(text).ToString(), text);
  }
  EXPECT_EQ(Spec("int8,budget_bytes=9").selection, Selection::kValueNorm);
}

TEST_F(BudgetTest, AResolutionMustHaveTheSelectionThatWasAskedFor) {
  const CodecSpec asked = Spec("int8,select=back,budget_bytes=900");
  const CodecSpec three = Spec("int4,select=back,keep_tokens=3,keys=0:bf16");
  EXPECT_TRUE(CheckResolved(asked, three, 10).ok());
  for (const char* other :
       {"int4", "int4,select=front,keep_tokens=3", "int4,select=back,keep_ratio=0.5",
        "int8,select=back,budget_bytes=900"}) {
    EXPECT_EQ(CheckResolved(asked, Spec(other), 10).code(), absl::StatusCode::kFailedPrecondition)
        << other;
  }
  for (const auto& [most, is_right] : {std::pair("keep_tokens=3", true),
                                       {"keep_tokens=2", false},
                                       {"keep_ratio=0.3", true},
                                       {"keep_ratio=0.2", false}}) {
    const std::string text = absl::StrCat("int8,select=back,", most, ",budget_bytes=900");
    EXPECT_EQ(CheckResolved(Spec(text), three, 10).ok(), is_right) << text;
  }
}

}  // namespace
}  // namespace qc2c
