#include "common/codec/frame_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "common/codec/test_cache.h"

namespace qc2c {
namespace {

using testing::HasSubstr;

constexpr KvLayout kFrameLayout = {.num_layers = 3, .num_kv_heads = 2, .head_dim = 5};

TEST(BytesOfBlockTest, CountsCodesAndScales) {
  const auto bytes = [](std::string_view codec) {
    const BlockBytes b = BytesOfBlock(Spec(codec), kFrameLayout, 7).value();
    return std::pair(b.codes, b.scales);
  };
  EXPECT_EQ(bytes("fp32"), std::pair(size_t{7 * 2 * 20}, size_t{0}));
  EXPECT_EQ(bytes("bf16"), std::pair(size_t{7 * 2 * 10}, size_t{0}));
  EXPECT_EQ(bytes("int8"), std::pair(size_t{7 * 2 * 5}, size_t{7 * 2 * 2}));
  EXPECT_EQ(bytes("int4,scale=fp32"), std::pair(size_t{7 * 2 * 3}, size_t{7 * 2 * 4}));
  EXPECT_EQ(bytes("int4,axis=per_head"), std::pair(size_t{7 * 2 * 3}, size_t{2 * 2}));
  EXPECT_EQ(bytes("int4,axis=per_layer"), std::pair(size_t{7 * 2 * 3}, size_t{2}));
}

TEST(BytesOfBlockTest, RefusesWhatCouldOverflow) {
  EXPECT_THAT(std::string(BytesOfBlock(CodecSpec(), {1, 1, 1 << 30}, 1).status().message()),
              HasSubstr("head_dim"));
  EXPECT_THAT(std::string(BytesOfBlock(CodecSpec(), kFrameLayout, 1 << 21).status().message()),
              HasSubstr("num_kept is 2097152"));
  CodecSpec unknown;
  unknown.scheme = static_cast<Scheme>(0);
  EXPECT_TRUE(absl::IsInvalidArgument(BytesOfBlock(unknown, kFrameLayout, 1).status()));
}

TEST(LayOutBlocksTest, PlacesSectionsOneAfterAnotherOnWholeWords) {
  KvFrame frame = {.layout = kFrameLayout, .codec = Spec("int8"), .num_tokens = 3};
  frame.positions = {0, 1, 2};
  frame.layers = KvLayerSet::Both({0, 2});
  ASSERT_TRUE(LayOutBlocks(frame).ok());
  ASSERT_EQ(frame.blocks.size(), 4u);
  size_t end = 0;
  for (const KvBlock& block : frame.blocks) {
    EXPECT_EQ(block.codes_offset % kSectionAlignment, 0u);
    EXPECT_GE(block.codes_offset, end);
    EXPECT_EQ(block.codes_bytes, 30u);
    EXPECT_GE(block.scales_offset, block.codes_offset + block.codes_bytes);
    EXPECT_EQ(block.scales_bytes, 12u);
    end = block.scales_offset + block.scales_bytes;
  }
  EXPECT_GE(frame.data.size(), end);
  EXPECT_EQ(frame.blocks[1].half, Half::kValue);
  EXPECT_EQ(frame.blocks[2].layer, 2);
}

// Each change breaks one field of a frame that is right; the error must name that field.
TEST(DecodeCacheTest, RefusesEveryFieldThatDoesNotFit) {
  TestCache cache(kFrameLayout, 6, DType::kFp32, DeviceType::kCpu);
  cache.FillRandom(1);
  const auto good = Encode(cache, "int8,select=front,keep_tokens=4");
  ASSERT_TRUE(good.ok()) << good.status();
  TestCache out(kFrameLayout, 4, DType::kFp32, DeviceType::kCpu);
  ASSERT_TRUE(DecodeCache(*good, out.View()).ok());

  const auto infinite = std::numeric_limits<uint16_t>::max();  // a NaN in fp16
  const std::pair<std::function<void(KvFrame&)>, std::string> kCases[] = {
      {[](KvFrame& f) { f.codec.scheme = static_cast<Scheme>(42); }, "scheme is '42'"},
      {[](KvFrame& f) { f.codec.scale_type = ScaleType::kFp32; },
       "16 bytes of scales: expected 32"},
      {[](KvFrame& f) { f.layout.head_dim = -5; }, "head_dim is -5"},
      {[](KvFrame& f) { f.layout.head_dim = 6; }, "40 bytes of codes: expected 48"},
      {[](KvFrame& f) { f.num_tokens = 0; }, "num_tokens is 0"},
      {[](KvFrame& f) { f.num_tokens = 3; }, "positions has 4 entries: expected 3"},
      {[](KvFrame& f) { f.positions.pop_back(); }, "positions has 3 entries"},
      {[](KvFrame& f) { f.positions[3] = 6; }, "positions[3] is 6"},
      {[](KvFrame& f) { f.positions[1] = 0; }, "positions[1] is 0"},
      {[](KvFrame& f) { f.layers.keys[2] = 3; }, "key_layers[2] is 3"},
      {[](KvFrame& f) { f.layers.values[0] = -1; }, "value_layers[0] is -1"},
      {[](KvFrame& f) { f.layers.keys[1] = 0; }, "key_layers[1] is 0"},
      {[](KvFrame& f) { f.layers = {}; }, "key_layers and value_layers are empty"},
      {[](KvFrame& f) { f.layers.values.pop_back(); }, "blocks has 6 entries: expected 5"},
      {[](KvFrame& f) { f.blocks.pop_back(); }, "blocks has 5 entries"},
      {[](KvFrame& f) { std::swap(f.blocks[0], f.blocks[1]); }, "blocks[0] is layer 0 value"},
      {[](KvFrame& f) { f.blocks[3].codes_bytes = 41; }, "layer 1 value has 41 bytes of codes"},
      {[](KvFrame& f) { f.blocks[3].codes_offset = 8; }, "layer 1 value has codes at 8"},
      {[](KvFrame& f) { f.blocks[3].codes_offset = f.data.size(); }, "layer 1 value has codes at"},
      {[](KvFrame& f) { f.blocks[5].scales_offset = ~size_t{15}; }, "layer 2 value has scales at"},
      {[](KvFrame& f) { f.data.erase(f.data.end() - 16, f.data.end()); },
       "layer 2 value has scales at"},
      {[](KvFrame& f) { f.data.clear(); }, "layer 0 key has codes at 0 of 0"},
      {[&](KvFrame& f) { std::memcpy(&f.data[f.blocks[2].scales_offset + 4], &infinite, 2); },
       "layer 1 key has scale 2 of"},
      {[](KvFrame& f) { f.data[f.blocks[2].scales_offset + 1] |= 0x80; },
       "layer 1 key has scale 0"},
  };
  for (const auto& [damage, message] : kCases) {
    KvFrame frame = *good;
    damage(frame);
    const absl::Status status = DecodeCache(frame, out.View());
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << message << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

TEST(DecodeCacheTest, RefusesATargetThatDoesNotFit) {
  TestCache cache(kFrameLayout, 4, DType::kFp32, DeviceType::kCpu);
  cache.FillRandom(1);
  const auto frame = Encode(cache, "int4");
  ASSERT_TRUE(frame.ok());
  const std::pair<std::function<void(KvCacheView&)>, std::string> kCases[] = {
      {[](KvCacheView& v) { v.layout.head_dim = 4; }, "layout is [L=3, H=2, D=4]"},
      {[](KvCacheView& v) { v.num_tokens = 3; }, "3 tokens: expected the frame's 4"},
      {[](KvCacheView& v) { v.keys.pop_back(); }, "2 key and 3 value planes"},
      {[](KvCacheView& v) { v.values[1].data = nullptr; }, "layer 1 value is absent"},
      {[](KvCacheView& v) { v.keys[2].head_stride = -1; }, "layer 2 key has strides"},
  };
  for (const auto& [damage, message] : kCases) {
    KvCacheView view = cache.View();
    damage(view);
    const absl::Status status = DecodeCache(*frame, view);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

TEST(EncodeCacheTest, RefusesACacheOrLayersThatDoNotFit) {
  TestCache cache(kFrameLayout, 4, DType::kFp32, DeviceType::kCpu);
  cache.FillRandom(1);
  const auto message = [&](const KvLayerSet& layers,
                           const std::function<void(KvCacheView&)>& damage) {
    KvCacheView view = cache.View();
    damage(view);
    return std::string(EncodeCache(view, layers, Spec("int8")).status().message());
  };
  const auto keep = [](KvCacheView&) {};
  EXPECT_THAT(message({}, keep), HasSubstr("key_layers and value_layers are empty"));
  EXPECT_THAT(message({.keys = {0, 0}}, keep), HasSubstr("key_layers[1] is 0"));
  EXPECT_THAT(message({.values = {3}}, keep), HasSubstr("value_layers[0] is 3"));
  const KvLayerSet first = KvLayerSet::Both({0});
  EXPECT_THAT(message(first, [](KvCacheView& v) { v.num_tokens = 0; }),
              HasSubstr("num_tokens is 0"));
  EXPECT_THAT(message(first, [](KvCacheView& v) { v.layout.num_kv_heads = 0; }),
              HasSubstr("num_kv_heads is 0"));
  EXPECT_THAT(message({.keys = {1}}, [](KvCacheView& v) { v.keys[1].data = nullptr; }),
              HasSubstr("layer 1 key is absent"));
}

// What is not asked for is not looked at: the other half may be absent.
TEST(EncodeCacheTest, AHalfOfALayerIsTheSameBytesAloneAndAmongOthers) {
  TestCache cache(kFrameLayout, 4, DType::kFp32, DeviceType::kCpu);
  cache.FillRandom(1);
  const auto whole = Encode(cache, "int4");
  ASSERT_TRUE(whole.ok()) << whole.status();
  KvCacheView view = cache.View();
  view.keys[0].data = view.keys[2].data = view.values[1].data = nullptr;
  const auto apart = EncodeCache(view, {.keys = {1}, .values = {0, 2}}, Spec("int4"));
  ASSERT_TRUE(apart.ok()) << apart.status();
  ASSERT_EQ(apart->blocks.size(), 3u);
  const size_t of_whole[] = {1, 2, 5};
  for (size_t i = 0; i < 3; ++i) {
    const KvBlock& same = whole->blocks[of_whole[i]];
    EXPECT_EQ(apart->blocks[i].layer, same.layer);
    EXPECT_EQ(apart->blocks[i].half, same.half);
    EXPECT_TRUE(std::ranges::equal(apart->Codes(apart->blocks[i]), whole->Codes(same)));
    EXPECT_TRUE(std::ranges::equal(apart->Scales(apart->blocks[i]), whole->Scales(same)));
  }
  // int4: half a byte for each of 3 x 4 x 2 x 5 values; the odd nibble of a row is not counted.
  EXPECT_EQ(FormulaBytes(*apart), 3u * 4 * 2 * 5 / 2);

  TestCache out(kFrameLayout, 4, DType::kFp32, DeviceType::kCpu);
  KvCacheView target = out.View();
  target.keys[0].data = target.keys[2].data = target.values[1].data = nullptr;
  EXPECT_TRUE(DecodeCache(*apart, target).ok());
}

}  // namespace
}  // namespace qc2c
