#include "receiver/cache_assembly.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qc2c {
namespace {

using testing::HasSubstr;

constexpr KvLayout kLayout{.num_layers = 1, .num_kv_heads = 1, .head_dim = 2};

// An fp32 frame of three tokens of which `codec` sends some: token t has the key (t + 1, 0).
KvFrame FrameOf(const std::string& codec) {
  at::Tensor keys = at::zeros({3, 1, 2});
  keys.select(2, 0).copy_(at::arange(1, 4).view({3, 1}));
  const at::Tensor values = keys + 10;
  const KvCacheView view{.layout = kLayout,
                         .num_tokens = 3,
                         .dtype = DType::kFp32,
                         .device = DeviceType::kCpu,
                         .keys = {{keys.data_ptr(), 2, 2}},
                         .values = {{values.data_ptr(), 2, 2}}};
  return EncodeCache(view, KvLayerSet::Both({0}), CodecSpec::Parse(codec).value()).value();
}

// Row 0's keys at each slot, -1 where the slot is not selected.
std::vector<float> KeysOf(const SharerCacheBuilder& builder) {
  const SharerCache cache = builder.Build();
  std::vector<float> keys;
  for (int64_t slot = 0; slot < cache.selected.size(1); ++slot) {
    const bool is_selected = cache.selected[0][slot].item<bool>();
    keys.push_back(is_selected ? cache.keys[0][0][0][slot][0].item<float>() : -1);
  }
  return keys;
}

class SharerCacheBuilderTest : public testing::Test {
 protected:
  SharerCacheBuilder builder_{kLayout, KvLayerSet::Both({0}), /*batch_size=*/1, /*num_slots=*/5,
                              ModelOptions{}};
};

TEST_F(SharerCacheBuilderTest, EachSlotGetsTheTokenThatItTakesAndSeveralMayTakeOne) {
  ASSERT_TRUE(builder_.SetRow(0, FrameOf("fp32"), {2, 0, -1, 0}).ok());
  EXPECT_THAT(KeysOf(builder_), testing::ElementsAre(3, 1, -1, 1, -1));
}

TEST_F(SharerCacheBuilderTest, ASlotWhoseTokenWasNotSentStaysUnselected) {
  ASSERT_TRUE(builder_.SetRow(0, FrameOf("fp32,select=back,keep_tokens=2"), {0, 1, 2}).ok());
  EXPECT_THAT(KeysOf(builder_), testing::ElementsAre(-1, 2, 3, -1, -1));
}

// A sharer's checksum says that they arrived as they were sent.
TEST_F(SharerCacheBuilderTest, ValuesThatAreNotFiniteAreRefused) {
  for (const char* codec : {"fp32", "bf16", "fp16", "fp8_e5m2"}) {
    KvFrame frame = FrameOf(codec);
    const KvBlock& block = frame.blocks.back();
    for (size_t i = 1; i <= 4 && i <= block.codes_bytes; ++i) {  // a NaN of each type
      frame.data[block.codes_offset + block.codes_bytes - i] = i == 1 ? 0x7f : 0xff;
    }
    const absl::Status status = builder_.SetRow(0, frame, {0, 1, 2});
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << codec;
    EXPECT_THAT(std::string(status.message()), HasSubstr("not finite")) << codec;
  }
}

TEST_F(SharerCacheBuilderTest, ARowWithoutAnyTokenIsRefused) {
  const absl::Status status =
      builder_.SetRow(0, FrameOf("fp32,select=back,keep_tokens=1"), {0, 1, -1});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("none of the 1 sent tokens"));
}

TEST_F(SharerCacheBuilderTest, ATensorThatWasNotSentIsSelectedAtNoSlot) {
  SharerCacheBuilder builder(kLayout, KvLayerSet::Both({0}), /*batch_size=*/2, /*num_slots=*/3,
                             ModelOptions{});
  ASSERT_TRUE(builder.SetRow(0, FrameOf("fp32"), {0, 1, 2}).ok());
  ASSERT_TRUE(builder.SetRow(1, FrameOf("fp32,values=0:none"), {0, 1, -1}).ok());
  const SharerCache cache = builder.Build();
  EXPECT_TRUE(cache.SelectedOf(0, Half::kKey)
                  .equal(at::tensor({1, 1, 1, 1, 1, 0}).view({2, 3}).to(at::kBool)));
  EXPECT_TRUE(cache.SelectedOf(0, Half::kValue)
                  .equal(at::tensor({1, 1, 1, 0, 0, 0}).view({2, 3}).to(at::kBool)));
}

// Two layers of three tokens, each with a norm of its own: layer 0 keeps token 2, layer 1 token 0.
KvFrame FrameOfTwoSets() {
  at::Tensor planes = at::zeros({4, 3, 1, 2});  // keys of both layers, then values
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t t = 0; t < 3; ++t) planes[i][t][0][0] = i % 2 == 0 ? t + 1 : 9 - t;
  }
  const auto plane = [&](int64_t i) { return KvPlane{planes[i].data_ptr(), 2, 2}; };
  const KvCacheView view{.layout = {.num_layers = 2, .num_kv_heads = 1, .head_dim = 2},
                         .num_tokens = 3,
                         .dtype = DType::kFp32,
                         .device = DeviceType::kCpu,
                         .keys = {plane(0), plane(1)},
                         .values = {plane(2), plane(3)}};
  const auto codec =
      CodecSpec::Parse("fp32,select=value_norm,indices=per_layer,keep_tokens=1").value();
  return EncodeCache(view, {.keys = {0, 1}, .values = {1}}, codec).value();
}

TEST_F(SharerCacheBuilderTest, WithAnIndexSetALayerEachLayerHasItsOwnTokens) {
  const KvLayerSet layers = {.keys = {0, 1}, .values = {1}};
  SharerCacheBuilder builder({.num_layers = 2, .num_kv_heads = 1, .head_dim = 2}, layers,
                             /*batch_size=*/1, /*num_slots=*/4, ModelOptions{});
  ASSERT_TRUE(builder.SetRow(0, FrameOfTwoSets(), {0, 1, 2, 0}).ok());
  const SharerCache cache = builder.Build();
  const auto is = [](const at::Tensor& selected, std::vector<int> expected) {
    return selected.equal(at::tensor(expected).view({1, 4}).to(at::kBool));
  };
  EXPECT_TRUE(is(cache.selected, {1, 0, 1, 1}));
  EXPECT_TRUE(is(cache.SelectedOf(0, Half::kKey), {0, 0, 1, 0}));
  EXPECT_TRUE(is(cache.SelectedOf(1, Half::kKey), {1, 0, 0, 1}));
  EXPECT_TRUE(is(cache.SelectedOf(1, Half::kValue), {1, 0, 0, 1}));
  EXPECT_EQ(cache.keys[0][0][0][2][0].item<float>(), 3);
  EXPECT_EQ(cache.keys[1][0][0][0][0].item<float>(), 9);
  EXPECT_EQ(cache.values[1][0][0][3][0].item<float>(), 9);
}

TEST_F(SharerCacheBuilderTest, AZeroRowIsSelectedWhereItTakesATokenAsFarAsItGoes) {
  builder_.SetZeroRow(0, {0, -1, 0});
  EXPECT_THAT(KeysOf(builder_), testing::ElementsAre(0, -1, 0, -1, -1));
}

// Row 0 takes tokens 1 and 2, row 1 token 0; of row 1 there are no others.
TEST(TokensOfTest, EachRowsTokensComeFirstAndWhatFollowsIsNotSelected) {
  const at::Tensor keys = at::arange(6).view({2, 1, 3, 1});  // row 0: 0 1 2, row 1: 3 4 5
  SharerCache cache{.keys = {keys, {}}, .values = {{}, keys + 10}};
  cache.selected = at::tensor({1, 1, 0, 1, 1, 1}).view({2, 3}).to(at::kBool);
  cache.selected_values = {{}, at::tensor({1, 0, 1, 0, 1, 1}).view({2, 3}).to(at::kBool)};
  const SharerCache taken = TokensOf(cache, {{1, 3}, {0, 1}});
  const auto is = [](const at::Tensor& tensor, std::vector<int> expected) {
    return tensor.equal(at::tensor(expected).view({2, 2}).to(at::kBool));
  };
  EXPECT_TRUE(is(taken.selected, {1, 0, 1, 0}));
  EXPECT_TRUE(is(taken.selected_values[1], {0, 1, 0, 0}));
  EXPECT_FALSE(taken.keys[1].defined());
  EXPECT_FALSE(taken.selected_values[0].defined());
  EXPECT_TRUE(taken.keys[0][0].flatten().equal(at::tensor({1, 2}, at::kLong)));
  EXPECT_EQ(taken.keys[0][1][0][0].item<int64_t>(), 3);
  EXPECT_TRUE(taken.values[1][0].flatten().equal(at::tensor({11, 12}, at::kLong)));
  // Rows may be longer than the cache, where nothing was sent for them.
  EXPECT_TRUE(is(TokensOf(cache, {{2, 4}, {3, 3}}).selected, {0, 0, 0, 0}));
}

TEST(SlotsFromTest, AreReplacedWhereTheyWere) {
  const at::Tensor numbers = at::arange(4).view({1, 1, 4, 1});
  KvCache cache{.keys = {numbers}, .values = {numbers + 10}};
  cache.valid = at::tensor({1, 1, 0, 1}).view({1, 4}).to(at::kBool);
  cache.positions = at::tensor({0, 1, 2, 7}).view({1, 4});
  cache.lengths = at::tensor({8});
  KvCache slots = SlotsFrom(cache, 2);
  EXPECT_EQ(slots.num_slots(), 2);
  EXPECT_TRUE(slots.keys[0].flatten().equal(at::tensor({2, 3}, at::kLong)));
  EXPECT_TRUE(slots.positions.flatten().equal(at::tensor({2, 7})));
  slots.keys[0] = slots.keys[0] + 100;
  ReplaceSlotsFrom(2, slots, cache);
  EXPECT_TRUE(cache.keys[0].flatten().equal(at::tensor({0, 1, 102, 103}, at::kLong)));
  EXPECT_TRUE(cache.values[0].flatten().equal(at::tensor({10, 11, 12, 13}, at::kLong)));
}

}  // namespace
}  // namespace qc2c
