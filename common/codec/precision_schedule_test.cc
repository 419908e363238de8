#include "common/codec/precision_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/codec/codec_spec.h"
#include "common/codec/test_cache.h"

namespace qc2c {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint8_t kOwn = PrecisionSchedule::kOwn;
constexpr uint8_t kNotSent = PrecisionSchedule::kNotSent;

std::string ErrorOf(std::string_view text) {
  const absl::StatusOr<CodecSpec> codec = CodecSpec::Parse(text);
  EXPECT_EQ(codec.status().code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(codec.status().message());
}

TEST(PrecisionScheduleTest, TheTextSaysWhatEachLayersKeysAndValuesGet) {
  const CodecSpec codec = Spec("int4,keys=0-1+3:int8+4:none,values=2:bf16");
  EXPECT_THAT(codec.schedule.keys, ElementsAre(2, 2, kOwn, 2, kNotSent));
  EXPECT_THAT(codec.schedule.values, ElementsAre(kOwn, kOwn, 3));
  EXPECT_EQ(codec.Of(3, Half::kKey), Spec("int8"));
  EXPECT_EQ(codec.Of(2, Half::kKey), Spec("int4"));
  EXPECT_EQ(codec.Of(2, Half::kValue), Spec("bf16"));
  EXPECT_EQ(codec.Of(9, Half::kValue), Spec("int4"));
  EXPECT_FALSE(codec.schedule.Sends(4, Half::kKey));
}

TEST(PrecisionScheduleTest, APrecisionTakesWhatItDoesNotNameFromTheCodec) {
  const CodecSpec codec = Spec(
      "int4,axis=group,group=16,scale=bf16,keys=0:int8+1:int8:per_channel+2:int2:group:fp32,"
      "values=0:nf4:group64");
  EXPECT_EQ(codec.Of(0, Half::kKey), Spec("int8,axis=group,group=16,scale=bf16"));
  EXPECT_EQ(codec.Of(1, Half::kKey), Spec("int8,axis=per_channel,scale=bf16"));
  EXPECT_EQ(codec.Of(2, Half::kKey), Spec("int2,axis=group,group=32,scale=fp32"));
  EXPECT_EQ(codec.Of(0, Half::kValue), Spec("nf4,axis=group,group=64,scale=bf16"));
  EXPECT_EQ(Spec("bf16,keys=0:int8").Of(0, Half::kKey), Spec("int8"));
}

TEST(PrecisionScheduleTest, TheCanonicalTextComesBack) {
  for (const char* text :
       {"int4,keys=0-7:int8,values=20-23:bf16", "bf16,values=0:int8:per_channel:fp32",
        "int4,axis=per_channel,keys=0:int8:per_token+1-2:none+5:nf4:group64:bf16",
        "int8,select=back,keep_ratio=0.5,values=1:none",
        "int4,rotation=remove,keys=0:int2:group_tokens8,values=1:nf4:group64"}) {
    EXPECT_EQ(Spec(text).ToString(), text);
    EXPECT_EQ(Spec(Spec(text).ToString()), Spec(text));
  }
  EXPECT_EQ(Spec("int4,values=3+1:int8,keys=0-2:int4").ToString(), "int4,values=1:int8+3:int8");
}

TEST(PrecisionScheduleTest, ATextThatSaysNoScheduleIsRefusedByName) {
  EXPECT_THAT(ErrorOf("int4,keys=0-7:int9"), HasSubstr("keys has 'int9'"));
  EXPECT_THAT(ErrorOf("int4,keys=7-0:int8"), HasSubstr("keys has '7-0:int8'"));
  EXPECT_THAT(ErrorOf("int4,keys=0-1024:int8"), HasSubstr("layers below 1024"));
  EXPECT_THAT(ErrorOf("int4,values=x:int8"), HasSubstr("values has 'x:int8'"));
  EXPECT_THAT(ErrorOf("int4,values=0-2:int8+2:nf4"), HasSubstr("layer 2 once"));
  EXPECT_THAT(ErrorOf("int4,values=0-2"), HasSubstr("a precision after the last layers"));
  EXPECT_THAT(ErrorOf("int4,values="), HasSubstr("values"));
  EXPECT_THAT(ErrorOf("int4,values=0:bf16:fp16"), HasSubstr("without scales"));
  EXPECT_THAT(ErrorOf("int4,values=0:int8:round"), HasSubstr("an axis, groupG or a scale type"));
  EXPECT_THAT(ErrorOf("int4,values=0:int8:group9"), HasSubstr("group is '9'"));
}

TEST(PrecisionScheduleTest, ADifferentSpellingOfAScheduleIsRefused) {
  const CodecSpec good = Spec("int4,keys=0:int8+1:bf16+2:none");
  const auto error = [&](void (*change)(PrecisionSchedule&)) {
    CodecSpec codec = good;
    change(codec.schedule);
    return std::string(codec.Validate().message());
  };
  EXPECT_THAT(error([](auto&) {}), IsEmpty());
  EXPECT_THAT(error([](auto& s) { s.keys.push_back(kOwn); }), HasSubstr("lists that end with"));
  EXPECT_THAT(error([](auto& s) {
                std::swap(s.precisions[0], s.precisions[1]);
                std::swap(s.keys[0], s.keys[1]);
              }),
              HasSubstr("in the order of their first use"));
  EXPECT_THAT(error([](auto& s) { s.precisions[1] = s.precisions[0]; }), HasSubstr("distinct"));
  EXPECT_THAT(error([](auto& s) { s.precisions[1].scheme = Scheme::kInt4; }), HasSubstr("axis"));
  EXPECT_THAT(error([](auto& s) { s.keys[0] = 9; }), HasSubstr("keys[0] is 9"));
  EXPECT_THAT(error([](auto& s) { s.keys.resize(1025, 2); }), HasSubstr("1025 layers"));
}

TEST(PrecisionScheduleTest, TensorsThatAreNotSentLeaveTheLayerSet) {
  const PrecisionSchedule schedule = Spec("int4,keys=1-2:none,values=0-9:none").schedule;
  const auto sent = schedule.SentOf(KvLayerSet::Both({0, 1, 3}));
  ASSERT_TRUE(sent.ok()) << sent.status();
  EXPECT_THAT(sent->keys, ElementsAre(0, 3));
  EXPECT_THAT(sent->values, IsEmpty());
  EXPECT_EQ(schedule.SentOf(KvLayerSet::Both({1, 2})).status().code(),
            absl::StatusCode::kInvalidArgument);
}

class MixedFrameTest : public testing::TestWithParam<DeviceType> {};

// A frame of mixed precision has, tensor by tensor, the bytes of the uniform frame of that
// precision, and decodes to its values.
TEST_P(MixedFrameTest, EachTensorIsThatOfAUniformFrame) {
  SKIP_WITHOUT(GetParam());
  const KvLayout layout{.num_layers = 4, .num_kv_heads = 2, .head_dim = 24};
  TestCache cache(layout, 9, DType::kFp32, GetParam());
  cache.FillRandom(3);
  const std::string select = ",select=value_norm,keep_tokens=5";
  const auto mixed = Encode(cache, "int4" + select +
                                       ",keys=0:int8+2:int2:per_head+3:none,"
                                       "values=1:bf16+2:nf4:group8:fp32+3:int8:per_layer");
  ASSERT_TRUE(mixed.ok()) << mixed.status();
  EXPECT_EQ(mixed->blocks.size(), 7u);
  TestCache decoded(layout, 5, DType::kFp32, GetParam());
  ASSERT_TRUE(DecodeCache(*mixed, decoded.View()).ok());
  const std::vector<float> values = decoded.Values();
  for (const KvBlock& block : mixed->blocks) {
    const CodecSpec own = mixed->codec.Of(block.layer, block.half);
    const auto uniform = EncodeCache(cache.View(), cache.AllLayers(), own);
    ASSERT_TRUE(uniform.ok()) << uniform.status();
    EXPECT_EQ(mixed->positions, uniform->positions);
    const size_t index = block.layer * 2 + static_cast<size_t>(block.half);
    const KvBlock& same = uniform->blocks[index];
    EXPECT_EQ(ToHex(mixed->Codes(block)), ToHex(uniform->Codes(same))) << own.ToString();
    EXPECT_EQ(ToHex(mixed->Scales(block)), ToHex(uniform->Scales(same))) << own.ToString();
    TestCache alone(layout, 5, DType::kFp32, GetParam());
    ASSERT_TRUE(DecodeCache(*uniform, alone.View()).ok());
    const std::vector<float> expected = alone.Values();
    const size_t plane = values.size() / 8;
    for (size_t i = index * plane; i < (index + 1) * plane; ++i) {
      ASSERT_EQ(values[i], expected[i]) << own.ToString();
    }
  }
}

TEST_P(MixedFrameTest, AScheduleThatDoesNotFitTheModelIsRefused) {
  SKIP_WITHOUT(GetParam());
  TestCache cache({.num_layers = 2, .num_kv_heads = 1, .head_dim = 8}, 3, DType::kFp32, GetParam());
  cache.FillRandom(1);
  EXPECT_THAT(std::string(Encode(cache, "int4,keys=2:int8").status().message()),
              HasSubstr("keys names layer 2: expected 0 to 1"));
  EXPECT_THAT(std::string(Encode(cache, "int4,keys=0-1:none,values=0-1:none").status().message()),
              HasSubstr("none of the tensors"));
}

INSTANTIATE_TEST_SUITE_P(Devices, MixedFrameTest,
                         testing::Values(DeviceType::kCpu, DeviceType::kCuda),
                         [](const auto& info) { return DeviceText(info.param); });

}  // namespace
}  // namespace qc2c
