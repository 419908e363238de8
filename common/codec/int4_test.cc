#include <gtest/gtest.h>

#include "common/codec/test_cache.h"

namespace qc2c {
namespace {

class Int4Test : public testing::TestWithParam<DeviceType> {};

// Made with numpy and torch from the formula in absmax.h; D is odd, so rows end with a zero nibble.
TEST_P(Int4Test, GivesTheGoldenFrameOfEveryAxisAndScale) {
  SKIP_WITHOUT(GetParam());
  const GoldenFrame kFrames[] = {
      {"int4", "5209c70254090000", "db36922c6e3b0000", "3902520997074207", "254b631c9230923c"},
      {"int4,scale=bf16", "5209c70254090000", "db3e923d6e3f0000", "3902520997074207",
       "65418c3b123e923f"},
      {"int4,scale=fp32", "5209d70254090000", "b76ddb3e2549923ddbb66d3f00000000",
       "4902520997073207", "499264412d6f8c3b2549123e2549923f"},
      {"int4,axis=per_head", "210dc70254090000", "6e3b922c", "3902000000004207", "254b923c"},
      {"int4,axis=per_layer", "210d010054090000", "6e3b", "3902000000000001", "254b"},
  };
  for (const GoldenFrame& frame : kFrames) ExpectGolden(GetParam(), frame);
}

// A byte that no encoder writes (-8, and a set nibble after the row's end) is read without harm.
TEST_P(Int4Test, ReadsEveryNibbleAsATwosComplementNumber) {
  SKIP_WITHOUT(GetParam());
  TestCache cache({.num_layers = 1, .num_kv_heads = 1, .head_dim = 15}, 1, DType::kFp32,
                  GetParam());
  cache.Fill([](int, Half, int64_t, int, int) { return 7.0f; });
  absl::StatusOr<KvFrame> frame = Encode(cache, "int4,scale=fp32");
  ASSERT_TRUE(frame.ok()) << frame.status();
  for (const KvBlock& block : frame->blocks) {
    for (int i = 0; i < 8; ++i) {  // values 2i and 2i + 1 become nibbles 2i and 2i + 1
      frame->data[block.codes_offset + i] = static_cast<uint8_t>(2 * i | (2 * i + 1) << 4);
    }
  }
  ASSERT_TRUE(DecodeCache(*frame, cache.View()).ok());
  const std::vector<float> expected = {0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2};
  const std::vector<float> values = cache.Values();
  EXPECT_EQ(std::vector<float>(values.begin(), values.begin() + 15), expected);
}

INSTANTIATE_TEST_SUITE_P(Devices, Int4Test, testing::Values(DeviceType::kCpu, DeviceType::kCuda),
                         [](const auto& info) { return DeviceText(info.param); });

}  // namespace
}  // namespace qc2c
