#include "experiments/point.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;

CodecSpec Codec(const std::string& text) { return CodecSpec::Parse(text).value(); }

TEST(PointTest, NamesOfThePlanSayModeAndCodec) {
  EXPECT_EQ(PointFromName("receiver")->mode, v1::MODE_RECEIVER);
  EXPECT_EQ(PointFromName("text_answer")->mode, v1::MODE_TEXT_ANSWER);
  EXPECT_EQ(PointFromName("bf16")->codec, Codec("bf16"));
  EXPECT_EQ(PointFromName("int8_back_p050")->codec, Codec("int8,select=back,keep_ratio=0.5"));
  EXPECT_EQ(PointFromName("int8_front_p010")->codec, Codec("int8,select=front,keep_ratio=0.1"));
  EXPECT_EQ(PointFromName("int4_value_norm_p025")->codec,
            Codec("int4,select=value_norm,keep_ratio=0.25"));
  EXPECT_EQ(PointFromName("int8_back_t016")->codec, Codec("int8,select=back,keep_tokens=16"));
  EXPECT_EQ(PointFromName("int8")->control, v1::CONTROL_NONE);
}

TEST(PointTest, ControlsAreAFusedPointAndASuffix) {
  EXPECT_EQ(PointFromName("bf16_wrong_question")->control, v1::CONTROL_WRONG_QUESTION);
  EXPECT_EQ(PointFromName("bf16_wrong_question")->codec, Codec("bf16"));
  EXPECT_EQ(PointFromName("bf16_zero_cache")->control, v1::CONTROL_ZERO_CACHE);
}

TEST(PointTest, APrefixPointIsACodecBehindItsMode) {
  const Point point = *PointFromName("prefix_int8_back_p050_wrong_question");
  EXPECT_EQ(point.mode, v1::MODE_PREFIX);
  EXPECT_EQ(point.codec, Codec("int8,select=back,keep_ratio=0.5"));
  EXPECT_EQ(point.control, v1::CONTROL_WRONG_QUESTION);
  EXPECT_EQ(MakePoint(v1::MODE_PREFIX, Codec("int4"))->name, "prefix_int4");
  EXPECT_EQ(MakePoint(v1::MODE_PREFIX, Codec("int8,axis=per_head"))->mode, v1::MODE_PREFIX);
}

TEST(PointTest, TheReceiverMayReadTheContextItself) {
  const Point point = *PointFromName("receiver_context");
  EXPECT_EQ(point.mode, v1::MODE_RECEIVER);
  EXPECT_EQ(point.context_reader, Point::ContextReader::kReceiver);
  EXPECT_EQ(PointFromName("receiver")->context_reader, Point::ContextReader::kSharer);
}

TEST(PointTest, UnknownNamesAreRefusedByName) {
  for (const char* name :
       {"", "prefix", "prefix_", "prefix_text", "int5", "int8_middle_p050", "int8_back_p000",
        "int8_back_p101", "int8_back", "fused", "int8,axis=per_head", "../int8"}) {
    const absl::Status status = PointFromName(name).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << name << " " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat("point \"", name, "\"")));
  }
}

TEST(PointTest, ACodecGetsItsShortNameOrItsText) {
  EXPECT_EQ(MakePoint(v1::MODE_FUSED, Codec("int8,select=back,keep_ratio=0.25"))->name,
            "int8_back_p025");
  EXPECT_EQ(MakePoint(v1::MODE_FUSED, Codec("int4"))->name, "int4");
  // Two that the short form cannot tell apart have different names.
  const std::string third =
      MakePoint(v1::MODE_FUSED, Codec("int8,select=back,keep_ratio=0.333"))->name;
  EXPECT_NE(third, "int8_back_p033");
  EXPECT_EQ(third.find_first_of(",=/"), std::string::npos);
  EXPECT_NE(MakePoint(v1::MODE_FUSED, Codec("int8,axis=per_head"))->name, "int8");
}

TEST(PointTest, AModeTakesACodecExactlyIfItSharesACache) {
  EXPECT_FALSE(MakePoint(v1::MODE_FUSED, std::nullopt).ok());
  EXPECT_FALSE(MakePoint(v1::MODE_PREFIX, std::nullopt).ok());
  EXPECT_FALSE(MakePoint(v1::MODE_TEXT, Codec("int8")).ok());
  EXPECT_EQ(MakePoint(v1::MODE_TEXT, std::nullopt)->name, "text");
}

TEST(PointTest, CodecJsonHasTheKeysOfTheCommandLine) {
  EXPECT_EQ(
      CodecToJson(Codec("int8,select=back,keep_ratio=0.1")).dump(),
      R"({"scheme":"int8","axis":"per_token","scale":"fp16","select":"back","keep_ratio":0.1})");
  EXPECT_EQ(CodecToJson(Codec("bf16")).dump(), R"({"scheme":"bf16","select":"all"})");
  EXPECT_EQ(CodecToJson(Codec("int4,rotation=remove,mean=bias,hadamard=keys")).dump(),
            R"({"scheme":"int4","axis":"per_token","scale":"fp16","rotation":"remove",)"
            R"("mean":"bias","hadamard":"keys","select":"all"})");
}

}  // namespace
}  // namespace qc2c
