#include "common/codec/klt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/codec/rotary.h"
#include "common/codec/test_codebook.h"

namespace qc2c {
namespace {

using testing::HasSubstr;

class KltTest : public testing::Test {
 protected:
  KvFrame Encode(const TestPrompt& prompt, uint32_t level) const {
    auto encoder = KltEncoder::Create(book_, prompt.prompt(), prompt.view());
    EXPECT_TRUE(encoder.ok()) << encoder.status();
    auto frame = encoder->Encode(level);
    EXPECT_TRUE(frame.ok()) << frame.status();
    return *std::move(frame);
  }

  const KltCodebook book_ = TestCodebook();
};

// A cache of the frame's kept tokens to decode into, in fp32.
class Target {
 public:
  explicit Target(size_t num_tokens) : view_{.layout = kTestLayout} {
    view_.num_tokens = static_cast<int64_t>(num_tokens);
    const size_t plane = num_tokens * 8;
    values_.resize(2 * kTestLayout.num_layers * plane, std::nanf(""));
    for (int i = 0; i < 2 * kTestLayout.num_layers; ++i) {
      (i < kTestLayout.num_layers ? view_.keys : view_.values)
          .push_back({values_.data() + i * plane, 8, 4});
    }
  }
  Target(const Target&) = delete;
  const KvCacheView& view() const { return view_; }
  const float* Row(int32_t layer, Half half, size_t token) const {
    return static_cast<const float*>(view_.Plane(layer, half).data) + token * 8;
  }

 private:
  std::vector<float> values_;
  KvCacheView view_;
};

// The values of a wanted token, keys un-rotated in fp64.
std::vector<double> Plain(const TestPrompt& prompt, int32_t layer, Half half, size_t token) {
  std::vector<double> plain(8);
  const double frequencies[] = {1.0, 0.125};
  for (int head = 0; head < 2; ++head) {
    for (int i = 0; i < 2; ++i) {
      const double a = prompt.At(layer, half, token, head * 4 + i);
      const double b = prompt.At(layer, half, token, head * 4 + i + 2);
      const double angle = half == Half::kValue ? 0.0 : prompt.positions()[token] * frequencies[i];
      plain[head * 4 + i] = a * std::cos(angle) + b * std::sin(angle);
      plain[head * 4 + i + 2] = b * std::cos(angle) - a * std::sin(angle);
    }
  }
  return plain;
}

// With unit vectors as a basis a decoded value misses the cache's by half a step at most, and by
// what the rotation and its undoing round: keys by the longest pair there is.
TEST_F(KltTest, EveryValueIsWithinHalfAStepOfTheCache) {
  const TestPrompt prompt(4);
  for (const uint32_t level : {2u, 3u, 4u, 5u}) {
    SCOPED_TRACE(level);
    const KvFrame frame = Encode(prompt, level);
    ASSERT_EQ(frame.positions.size(), 9);
    const Target target(9);
    const absl::Status status =
        DecodeCache(frame, target.view(), {.token_positions = prompt.positions()});
    ASSERT_TRUE(status.ok()) << status;
    const KltLevel& steps = book_.levels[level];
    for (size_t token = 2; token < 9; ++token) {
      const bool is_joint = steps.joint_step && token >= 7;
      const int step = is_joint    ? *steps.joint_step
                       : token < 6 ? *steps.middle_step
                                   : *steps.tail_step;
      for (const auto& [layer, half] : book_.layers.Tensors()) {
        // A pair's error turns with the rotation.
        const float turn = half == Half::kKey ? std::sqrt(2.0f) : 1.0f;
        const float bound = turn * KltPower(step) / 2 + RotationErrorBound(2.0f) + 0x1p-20f;
        for (int n = 0; n < 8; ++n) {
          EXPECT_NEAR(target.Row(layer, half, token)[n], prompt.At(layer, half, token, n), bound)
              << "token " << token << " layer " << layer << " n " << n;
        }
      }
    }
  }
}

TEST_F(KltTest, AValueIsItsMeanPlusTheNearestWholeNumberOfSteps) {
  const TestPrompt prompt(4);
  const Target target(9);
  ASSERT_TRUE(
      DecodeCache(Encode(prompt, 2), target.view(), {.token_positions = prompt.positions()}).ok());
  for (int n = 0; n < 16; ++n) {
    const int layer = n / 8;
    // Token 3 is of the middle, whose step is 1; token 7 of the tail, whose step is 1/2.
    const double middle = prompt.At(layer, Half::kValue, 3, n % 8) - TestMean(0, 1, n);
    EXPECT_EQ(target.Row(layer, Half::kValue, 3)[n % 8],
              static_cast<float>(TestMean(0, 1, n) + std::nearbyint(middle)));
    const double tail = prompt.At(layer, Half::kValue, 7, n % 8) - TestMean(2, 1, n);
    EXPECT_EQ(target.Row(layer, Half::kValue, 7)[n % 8],
              static_cast<float>(TestMean(2, 1, n) + std::nearbyint(tail / 0.5) * 0.5));
  }
}

TEST_F(KltTest, KeysAreQuantizedWithoutTheirRotation) {
  const TestPrompt prompt(4);
  const Target target(9);
  ASSERT_TRUE(
      DecodeCache(Encode(prompt, 2), target.view(), {.token_positions = prompt.positions()}).ok());
  const std::vector<double> plain = Plain(prompt, 1, Half::kKey, 4);
  const double frequencies[] = {1.0, 0.125};
  for (int i = 0; i < 2; ++i) {
    const auto quantized = [&](int n) {
      return TestMean(0, 0, n) + std::nearbyint(plain[n] - TestMean(0, 0, n));
    };
    const double angle = prompt.positions()[4] * frequencies[i];
    EXPECT_NEAR(target.Row(1, Half::kKey, 4)[i],
                quantized(i) * std::cos(angle) - quantized(i + 2) * std::sin(angle), 1e-5);
    EXPECT_NEAR(target.Row(1, Half::kKey, 4)[i + 2],
                quantized(i + 2) * std::cos(angle) + quantized(i) * std::sin(angle), 1e-5);
  }
}

TEST_F(KltTest, ThePrefixIsTheCodebooksAndTheMeanCostsNothing) {
  const TestPrompt prompt(2);
  const KvFrame frame = Encode(prompt, 0);
  EXPECT_TRUE(frame.data.empty());
  const Target target(7);
  ASSERT_TRUE(DecodeCache(frame, target.view(), {.token_positions = prompt.positions()}).ok());
  for (int n = 0; n < 8; ++n) {
    EXPECT_EQ(target.Row(1, Half::kKey, 1)[n], static_cast<float>(8 + n) / 8);
    EXPECT_EQ(target.Row(1, Half::kValue, 0)[n], static_cast<float>(100 + 8 + n) / 8);
    EXPECT_EQ(target.Row(0, Half::kValue, 2)[n], TestMean(0, 1, n));
    EXPECT_EQ(target.Row(0, Half::kValue, 6)[n], TestMean(3, 1, n));
  }
}

TEST_F(KltTest, ALevelOfTheLastTokensHasNoOthers) {
  const TestPrompt prompt(2);
  const KvFrame frame = Encode(prompt, 1);
  EXPECT_THAT(frame.positions, testing::ElementsAre(5, 6));
  const Target target(2);
  ASSERT_TRUE(DecodeCache(frame, target.view(), {.token_positions = prompt.positions()}).ok());
  for (int n = 0; n < 8; ++n) {
    EXPECT_NEAR(target.Row(0, Half::kValue, 1)[n], prompt.At(0, Half::kValue, 6, n), 0.25f);
  }
}

TEST_F(KltTest, APromptWithoutAMiddleAndValuesBeyondTheTablesAreCodedToo) {
  for (const float scale : {1.0f, 30.0f, 3000.0f}) {
    const TestPrompt prompt(0, scale);
    const KvFrame frame = Encode(prompt, 4);
    EXPECT_EQ(frame.num_escape_bytes > 0, scale > 1) << scale;
    const Target target(5);
    ASSERT_TRUE(DecodeCache(frame, target.view(), {.token_positions = prompt.positions()}).ok());
    for (int n = 0; n < 8; ++n) {
      EXPECT_NEAR(target.Row(0, Half::kValue, 4)[n], prompt.At(0, Half::kValue, 4, n),
                  KltPower(-16) / 2 + scale * 0x1p-22f);
    }
  }
}

TEST_F(KltTest, AFineStepTakesMoreBytesThanACoarseOne) {
  const TestPrompt prompt(8);
  EXPECT_LT(Encode(prompt, 2).data.size(), Encode(prompt, 4).data.size());
  EXPECT_LT(Encode(prompt, 4).data.size(), Encode(prompt, 5).data.size());
  EXPECT_EQ(Encode(prompt, 4).data, Encode(prompt, 4).data);
}

// The last `count` tokens of a cache.
KvCacheView LastTokens(KvCacheView view, int64_t count) {
  for (std::vector<KvPlane>* planes : {&view.keys, &view.values}) {
    for (KvPlane& plane : *planes) {
      plane.data = static_cast<float*>(plane.data) + (view.num_tokens - count) * plane.token_stride;
    }
  }
  view.num_tokens = count;
  return view;
}

TEST_F(KltTest, ALevelNeedsTheTokensThatItReadsAndNoOthers) {
  const TestPrompt prompt(4);
  const size_t num_read[] = {0, 2, 7, 7, 7, 7};  // of 9 wanted tokens: 2 prefix, 4 middle, 3 tail
  for (uint32_t level = 0; level < 6; ++level) {
    SCOPED_TRACE(level);
    EXPECT_EQ(book_.NumRead(book_.levels[level], 9), num_read[level]);
    const std::vector<uint8_t> whole = Encode(prompt, level).data;
    const int64_t enough = std::max<int64_t>(1, static_cast<int64_t>(num_read[level]));
    auto encoder =
        KltEncoder::Create(book_, prompt.prompt(), LastTokens(prompt.view(), enough)).value();
    EXPECT_EQ(encoder.Encode(level)->data, whole);
    if (num_read[level] < 2) continue;
    auto poor =
        KltEncoder::Create(book_, prompt.prompt(), LastTokens(prompt.view(), enough - 1)).value();
    EXPECT_THAT(std::string(poor.Encode(level).status().message()),
                HasSubstr(absl::StrCat("cache.num_tokens is ", enough - 1)));
  }
}

TEST_F(KltTest, LevelsGiveTheSameBytesInAnyOrder) {
  const TestPrompt prompt(4);
  for (const auto& order : {std::vector<uint32_t>{0, 1, 2, 3, 4, 5}, {5, 4, 3, 2, 1, 0}}) {
    auto encoder = KltEncoder::Create(book_, prompt.prompt(), prompt.view()).value();
    for (const uint32_t level : order) {
      EXPECT_EQ(encoder.Encode(level)->data, Encode(prompt, level).data) << level;
    }
  }
}

TEST_F(KltTest, WrongCachesAreRefusedByName) {
  TestPrompt prompt(2);
  const auto refusal = [&](const KvCacheView& view, const KltPrompt& words) {
    return std::string(KltEncoder::Create(book_, words, view).status().message());
  };
  const auto refused_level = [&](const TestPrompt& words, uint32_t level) {
    auto encoder = KltEncoder::Create(book_, words.prompt(), words.view()).value();
    return std::string(encoder.Encode(level).status().message());
  };
  KvCacheView view = prompt.view();
  view.keys[1].data = nullptr;
  EXPECT_THAT(refusal(view, prompt.prompt()), HasSubstr("layer 1 key is absent"));
  view = prompt.view();
  view.layout.head_dim = 2;
  EXPECT_THAT(refusal(view, prompt.prompt()), HasSubstr("layout"));
  const TestPrompt shorter(1);
  EXPECT_THAT(refusal(prompt.view(), shorter.prompt()), HasSubstr("cache.num_tokens is 7"));
  // Value layer 1, token 4, head 1.
  prompt.values()[4 * 7 * 8 + 4 * 8 + 4] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(refused_level(prompt, 4),
              HasSubstr("layer 1 value token 4 head 1 has a value that is not finite"));
  EXPECT_EQ(refused_level(prompt, 1), "");  // of the last two tokens
  EXPECT_THAT(refused_level(TestPrompt(2, 1e30f), 4), HasSubstr("a coefficient of the cache is"));
  EXPECT_THAT(refused_level(TestPrompt(2), 6), HasSubstr("level is 6: expected 0 to 5"));
}

TEST_F(KltTest, DamagedFramesAreRefusedOrDecodedWithinBounds) {
  const TestPrompt prompt(3, 30.0f);
  const KvFrame whole = Encode(prompt, 4);
  const Target target(8);
  const auto decode = [&](const KvFrame& frame) {
    return DecodeCache(frame, target.view(), {.token_positions = prompt.positions()});
  };
  ASSERT_TRUE(decode(whole).ok());
  for (size_t n = 0; n < whole.data.size(); ++n) {
    KvFrame frame = whole;
    frame.data = std::vector<uint8_t>(whole.data.begin(), whole.data.begin() + n);
    EXPECT_FALSE(decode(frame).ok()) << "truncated to " << n;
    frame = whole;
    for (int bit = 0; bit < 8; ++bit) {
      frame.data[n] = static_cast<uint8_t>(whole.data[n] ^ (1 << bit));
      decode(frame).IgnoreError();  // the checksum is the wire's; here nothing may be overrun
    }
  }
  KvFrame frame = whole;
  frame.data.push_back(0);
  EXPECT_FALSE(decode(frame).ok());
  frame = whole;
  frame.num_escape_bytes = 0;
  EXPECT_FALSE(decode(frame).ok());
  frame.num_escape_bytes = static_cast<uint32_t>(whole.data.size()) + 1;
  EXPECT_FALSE(decode(frame).ok());
  frame = whole;
  frame.codec.klt->codebook ^= 1;
  EXPECT_THAT(std::string(decode(frame).message()), HasSubstr("expected klt of codebook"));
  frame = whole;
  frame.codec.klt->level = 6;
  EXPECT_FALSE(decode(frame).ok());
  frame = whole;
  frame.num_tokens = 4;
  EXPECT_THAT(std::string(decode(frame).message()), HasSubstr("num_tokens is 4: expected 5"));
  frame = whole;
  frame.codebook = nullptr;
  EXPECT_FALSE(decode(frame).ok());
  EXPECT_FALSE(DecodeCache(whole, Target(7).view(), {.token_positions = prompt.positions()}).ok());
}

}  // namespace
}  // namespace qc2c
