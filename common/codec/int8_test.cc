#include <gtest/gtest.h>

#include "common/codec/test_cache.h"

namespace qc2c {
namespace {

class Int8Test : public testing::TestWithParam<DeviceType> {};

// Made with numpy and torch from the formula in absmax.h: np.rint(x / scale), the scale rounded by
// torch.
TEST_P(Int8Test, GivesTheGoldenFrameOfEveryAxisAndScale) {
  SKIP_WITHOUT(GetParam());
  const GoldenFrame kFrames[] = {
      {"int8", "2a55817fc0204e6281000000", "0c26081c8d2a0000", "813f202a55817f817f20407f",
       "4d3abe0b0820082c"},
      {"int8,scale=bf16", "2a54817fc0204e6281000000", "c23c813b523d0000",
       "813f202a55817f817f20407f", "4a3f7839013c813d"},
      {"int8,scale=fp32", "2a55817fc0204e6281000000", "0683c13c0402813b47a3513d00000000",
       "8140202a55817f817f20407f", "2693493ff3b177390402013c0402813d"},
      {"int8,axis=per_head", "1427c57fc0204e6281000000", "8d2a081c", "813f2000000001ff0120407f",
       "4d3a082c"},
      {"int8,axis=per_layer", "1427c50afb024e6281000000", "8d2a", "813f2000000001ff0103050a",
       "4d3a"},
  };
  for (const GoldenFrame& frame : kFrames) ExpectGolden(GetParam(), frame);
}

INSTANTIATE_TEST_SUITE_P(Devices, Int8Test, testing::Values(DeviceType::kCpu, DeviceType::kCuda),
                         [](const auto& info) { return DeviceText(info.param); });

}  // namespace
}  // namespace qc2c
