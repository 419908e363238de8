// Scales of two levels (scale_rule.h) on groups with known answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/codec/scaled_scheme.h"
#include "common/codec/test_cache.h"

namespace qc2c {
namespace {

using testing::ElementsAre;

class TwoLevelTest : public testing::TestWithParam<DeviceType> {
 protected:
  // The key scales of one token whose groups of eight have these largest magnitudes.
  std::vector<uint8_t> Scales(const std::vector<float>& largest) {
    const auto dim = static_cast<int32_t>(8 * largest.size());
    TestCache cache({.num_layers = 1, .num_kv_heads = 1, .head_dim = dim}, 1, DType::kFp32,
                    GetParam());
    cache.Fill([&](int, Half, int64_t, int, int d) { return d % 8 == 3 ? -largest[d / 8] : 0; });
    frame_ = Encode(cache, "int4,axis=group,group=8,scale=two_level");
    EXPECT_TRUE(frame_.ok()) << frame_.status();
    if (!frame_.ok()) return {};
    const ByteSpan scales = frame_->Scales(frame_->blocks[0]);
    return {scales.begin(), scales.end()};
  }
  float Scale(size_t group) {
    return LoadScale(frame_->Scales(frame_->blocks[0]), group, frame_->codec.scaling(),
                     frame_->layout.head_dim);
  }

  absl::StatusOr<KvFrame> frame_;
};

// The largest group's amax / 7 is 255/256, so that the row's fp16 is 1 (3c00) and a part 1/256.
TEST_P(TwoLevelTest, AGroupHasTheFewestPartsOfItsRowThatReachItsScale) {
  SKIP_WITHOUT(GetParam());
  const float most = 7 * 255.0f / 256;
  EXPECT_THAT(Scales({most, 3.5f, 3.51f, 0.0f, 7 * 0x1p-20f, 7.0f / 256}),
              ElementsAre(0x00, 0x3c, 255, 128, 129, 0, 1, 1));
  EXPECT_EQ(Scale(0), 255.0f / 256);
  EXPECT_EQ(Scale(1), 0.5f);
  EXPECT_EQ(Scale(3), 0.0f);
  EXPECT_EQ(Scale(5), 1.0f / 256);
}

TEST_P(TwoLevelTest, ARowBelowFp16sNormalNumbersIsZero) {
  SKIP_WITHOUT(GetParam());
  EXPECT_THAT(Scales({7 * 0x1.fcp-15f, 7 * 0x1p-16f}), ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(Scales({7 * 0x1.fep-15f}), ElementsAre(0x00, 0x04, 255));
}

TEST_P(TwoLevelTest, ARowThatOverflowsFp16IsRefused) {
  SKIP_WITHOUT(GetParam());
  TestCache cache({.num_layers = 1, .num_kv_heads = 1, .head_dim = 8}, 1, DType::kFp32, GetParam());
  cache.Fill([](int, Half, int64_t, int, int) { return 7 * 65504.0f; });
  EXPECT_FALSE(Encode(cache, "int4,axis=group,group=8,scale=two_level").ok());
  EXPECT_TRUE(Encode(cache, "int4,axis=group,group=8,scale=fp16").ok());
}

INSTANTIATE_TEST_SUITE_P(Devices, TwoLevelTest,
                         testing::Values(DeviceType::kCpu, DeviceType::kCuda),
                         [](const auto& info) { return DeviceText(info.param); });

}  // namespace
}  // namespace qc2c
