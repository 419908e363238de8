#include "common/codec/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "common/codec/scheme_registry.h"

namespace qc2c {
namespace {

using testing::HasSubstr;

std::string ErrorOf(std::string_view text) {
  const absl::StatusOr<CodecSpec> spec = CodecSpec::Parse(text);
  EXPECT_TRUE(absl::IsInvalidArgument(spec.status())) << std::string(text) << spec.status();
  return std::string(spec.status().message());
}

TEST(CodecSpecTest, TakesDefaultsForWhatIsNotGiven) {
  const CodecSpec spec = CodecSpec::Parse("int8").value();
  EXPECT_EQ(spec.scheme, Scheme::kInt8);
  EXPECT_EQ(spec.axis, Axis::kPerToken);
  EXPECT_EQ(spec.scale_type, ScaleType::kFp16);
  EXPECT_EQ(spec.selection, Selection::kAll);
  EXPECT_FALSE(spec.keep.has_value());
  const CodecSpec plain = CodecSpec::Parse("bf16").value();
  EXPECT_EQ(plain.axis, Axis::kNone);
  EXPECT_EQ(plain.scale_type, ScaleType::kNone);
}

TEST(CodecSpecTest, ReadsEveryKeyInAnyOrder) {
  const CodecSpec spec =
      CodecSpec::Parse("int4,keep_ratio=0.25,select=value_norm,scale=bf16,axis=per_head").value();
  EXPECT_EQ(spec.scheme, Scheme::kInt4);
  EXPECT_EQ(spec.axis, Axis::kPerHead);
  EXPECT_EQ(spec.scale_type, ScaleType::kBf16);
  EXPECT_EQ(spec.selection, Selection::kValueNorm);
  EXPECT_EQ(spec.keep, Keep(0.25f));
  EXPECT_EQ(CodecSpec::Parse("fp32,select=back,keep_tokens=7").value().keep, Keep(uint32_t{7}));
}

TEST(CodecSpecTest, NamesTheKeyThatIsWrong) {
  EXPECT_THAT(ErrorOf(""),
              HasSubstr("scheme is '': expected fp32, bf16, fp16, fp8_e4m3, fp8_e5m2, int8, int4"));
  EXPECT_THAT(ErrorOf("int9"), HasSubstr("scheme is 'int9'"));
  EXPECT_THAT(ErrorOf("int8,"), HasSubstr("option is ''"));
  EXPECT_THAT(ErrorOf("int8,fp16"), HasSubstr("option is 'fp16': expected key=value"));
  EXPECT_THAT(ErrorOf("int8,size=32"), HasSubstr("unknown key 'size': expected axis, group"));
  EXPECT_THAT(ErrorOf("int8,axis=per_dim"), HasSubstr("axis is 'per_dim': expected per_token"));
  EXPECT_THAT(ErrorOf("int8,scale=fp8"), HasSubstr("scale is 'fp8': expected fp16, bf16, fp32"));
  EXPECT_THAT(ErrorOf("int8,select=best"), HasSubstr("select is 'best': expected all, front"));
  EXPECT_THAT(ErrorOf("int8,axis=per_head,axis=per_head"), HasSubstr("'axis' is given twice"));
  EXPECT_THAT(ErrorOf("fp16,axis=per_head"), HasSubstr("axis is 'per_head': expected none"));
  EXPECT_THAT(ErrorOf("fp32,scale=fp16"), HasSubstr("scale is 'fp16': expected none"));
  EXPECT_THAT(ErrorOf("fp8_e4m3,axis=group"), HasSubstr("axis is 'group': expected none"));
}

TEST(CodecSpecTest, ReadsAndNamesTheKeysOfOneChoice) {
  EXPECT_EQ(CodecSpec::Parse("nf4,axis=group").value().group_size, 32u);
  EXPECT_EQ(CodecSpec::Parse("nf4,axis=group,group=8").value().group_size, 8u);
  EXPECT_EQ(CodecSpec::Parse("nf4").value().group_size, 0u);
  EXPECT_EQ(CodecSpec::Parse("int8,select=sinks,keep_tokens=9").value().sinks, 4u);
  EXPECT_EQ(CodecSpec::Parse("int8,select=random,seed=4294967295,keep_tokens=9").value().seed,
            4294967295u);
  for (const std::string size : {"7", "0", "128", "-8", "x", ""}) {
    EXPECT_THAT(ErrorOf("int8,axis=group,group=" + size), HasSubstr("group is '" + size + "'"));
  }
  EXPECT_THAT(ErrorOf("int8,group=32"),
              HasSubstr("group is '32': expected none, as axis is per_token"));
  EXPECT_THAT(ErrorOf("int8,select=sinks,keep_tokens=9,sinks=0"), HasSubstr("sinks is '0'"));
  EXPECT_EQ(CodecSpec::Parse("int8,select=attention,keep_tokens=9").value().window, 8u);
  EXPECT_EQ(CodecSpec::Parse("int8,select=attention,keep_tokens=9").value().pool, 5u);
  EXPECT_THAT(ErrorOf("int8,select=back,keep_tokens=9,window=2"),
              HasSubstr("window is '2': expected none, as select is back"));
  EXPECT_THAT(ErrorOf("int8,select=attention,keep_tokens=9,window=1025"),
              HasSubstr("window is '1025': expected 1 to 1024"));
  EXPECT_THAT(ErrorOf("int8,select=attention,keep_tokens=9,pool=4"),
              HasSubstr("pool is '4': expected an odd number of 1 to 63"));
  EXPECT_THAT(ErrorOf("int8,select=attention,budget_bytes=99"),
              HasSubstr("budget_bytes and select=attention exclude each other"));
  EXPECT_THAT(ErrorOf("int8,scale=two_level"),
              HasSubstr("scale is 'two_level': expected fp16, bf16 or fp32, as axis is per_token"));
  EXPECT_THAT(ErrorOf("int4,keys=0:int8:two_level"), HasSubstr("scale is 'two_level'"));
  EXPECT_THAT(ErrorOf("int4,axis=group,scale=two_level,zero_point=midpoint"),
              HasSubstr("zero_point is 'midpoint': expected none, as scale is two_level"));
  EXPECT_THAT(ErrorOf("int8,select=back,indices=per_layer,keep_tokens=9"),
              HasSubstr("indices is 'per_layer': expected one, as select is back"));
  EXPECT_THAT(ErrorOf("int8,select=key_norm,indices=all,keep_tokens=9"),
              HasSubstr("indices is 'all': expected one, per_layer"));
  EXPECT_THAT(ErrorOf("int8,select=key_norm,indices=per_layer,budget_bytes=99"),
              HasSubstr("budget_bytes and indices exclude each other"));
  EXPECT_THAT(ErrorOf("int8,select=back,keep_tokens=9,sinks=2"),
              HasSubstr("sinks is '2': expected none, as select is back"));
  EXPECT_THAT(ErrorOf("int8,select=sinks,keep_tokens=9,seed=2"),
              HasSubstr("seed is '2': expected none, as select is sinks"));
  EXPECT_THAT(ErrorOf("int8,select=random,keep_tokens=9,seed=4294967296"), HasSubstr("seed is"));
  EXPECT_THAT(ErrorOf("int8,select=back,keep_tokens=9,keep_tokens_min=2"),
              HasSubstr("keep_tokens_min is '2': expected none without keep_ratio"));
  EXPECT_THAT(ErrorOf("int8,keep_tokens_min=2"), HasSubstr("keep_tokens_min is '2'"));
}

TEST(CodecSpecTest, NamesTheKeepThatIsWrong) {
  EXPECT_THAT(ErrorOf("int8,keep_ratio=0.5"),
              HasSubstr("select is all, which takes no keep_ratio"));
  EXPECT_THAT(ErrorOf("int8,select=front"), HasSubstr("front, which needs keep_ratio or"));
  EXPECT_THAT(ErrorOf("int8,select=front,keep_ratio=0.5,keep_tokens=4"), HasSubstr("exclude"));
  for (const std::string ratio : {"0", "-0.5", "1.01", "nan", "inf", "half", "0.5x", ""}) {
    EXPECT_THAT(ErrorOf("int8,select=front,keep_ratio=" + ratio),
                HasSubstr("keep_ratio is '" + ratio));
  }
  for (const std::string tokens : {"0", "-1", "4294967296", "2.5", ""}) {
    EXPECT_THAT(ErrorOf("int8,select=front,keep_tokens=" + tokens),
                HasSubstr("keep_tokens is '" + tokens + "'"));
  }
}

TEST(CodecSpecTest, ValidatesValuesThatNoTextCanGive) {
  CodecSpec spec;
  spec.scheme = static_cast<Scheme>(99);
  EXPECT_THAT(std::string(spec.Validate().message()), HasSubstr("scheme is '99'"));
  spec = CodecSpec();
  spec.axis = static_cast<Axis>(9);
  EXPECT_THAT(std::string(spec.Validate().message()), HasSubstr("axis is 'unknown'"));
  spec = CodecSpec();
  spec.scale_type = ScaleType::kNone;
  EXPECT_THAT(std::string(spec.Validate().message()), HasSubstr("scale is 'none'"));
  spec = CodecSpec();
  spec.selection = static_cast<Selection>(77);
  EXPECT_THAT(std::string(spec.Validate().message()), HasSubstr("select is 'unknown'"));
}

TEST(CodecSpecTest, PrintsTheShortestTextThatReadsBackTheSame) {
  EXPECT_EQ(CodecSpec::Parse("int8,axis=per_token,scale=fp16,select=all").value().ToString(),
            "int8");
  EXPECT_EQ(CodecSpec::Parse("int4,keep_ratio=0.10,select=back").value().ToString(),
            "int4,select=back,keep_ratio=0.1");
  std::vector<std::string> keeps = {"",
                                    ",select=back,keep_tokens=7",
                                    ",select=front,keep_ratio=1",
                                    ",select=key_norm,keep_ratio=0.33333334",
                                    ",select=value_norm,keep_ratio=1e-07",
                                    ",select=strided,keep_ratio=0.5,keep_tokens_min=12",
                                    ",select=random,seed=7,keep_tokens=4",
                                    ",select=sinks,sinks=2,keep_tokens=40",
                                    ",select=key_norm,indices=per_layer,keep_tokens=4",
                                    ",select=attention,keep_ratio=0.5",
                                    ",select=attention,window=3,pool=1,keep_tokens=4"};
  std::vector<std::string> heads;
  for (const RegisteredScheme& known : AllSchemes()) {
    const std::string name(known.coder->name());
    heads.push_back(name);
    if (!known.coder->has_scales()) continue;
    for (const std::string axis :
         {"per_head", "per_layer", "per_channel", "group", "group,group=64"}) {
      for (const std::string scale : {"bf16", "fp32"}) {
        heads.push_back(name + ",axis=" + axis + ",scale=" + scale);
      }
    }
  }
  for (const std::string& head : heads) {
    for (const std::string& keep : keeps) {
      const CodecSpec spec = CodecSpec::Parse(head + keep).value();
      EXPECT_EQ(spec.ToString(), head + keep);
      EXPECT_EQ(CodecSpec::Parse(spec.ToString()).value(), spec);
    }
  }
}

uint32_t Kept(const std::string& keep, uint32_t num_tokens) {
  return CodecSpec::Parse("int8,select=front," + keep).value().NumKept(num_tokens);
}

TEST(CodecSpecTest, KeepsTheRoundedShareAndAtLeastOne) {
  EXPECT_EQ(CodecSpec::Parse("int8").value().NumKept(141), 141u);
  EXPECT_EQ(Kept("keep_ratio=0.5", 5), 3u);  // 2.5 rounds up
  EXPECT_EQ(Kept("keep_ratio=0.5", 4), 2u);
  EXPECT_EQ(Kept("keep_ratio=0.25", 141), 35u);  // 35.25
  EXPECT_EQ(Kept("keep_ratio=0.7", 5), 4u);      // 3.5 in fp32, 3.4999999 in fp64
  EXPECT_EQ(Kept("keep_ratio=0.01", 10), 1u);
  EXPECT_EQ(Kept("keep_ratio=1", 1 << 20), 1u << 20);
  EXPECT_EQ(Kept("keep_tokens=8", 5), 5u);
  EXPECT_EQ(Kept("keep_tokens=8", 9), 8u);
  EXPECT_EQ(Kept("keep_ratio=0.25,keep_tokens_min=16", 141), 35u);
  EXPECT_EQ(Kept("keep_ratio=0.25,keep_tokens_min=16", 40), 16u);
  EXPECT_EQ(Kept("keep_ratio=0.25,keep_tokens_min=16", 12), 12u);
}

TEST(SchemeRegistryTest, FindsEverySchemeByNumberAndNameOnly) {
  for (const RegisteredScheme& known : AllSchemes()) {
    EXPECT_EQ(FindScheme(known.coder->scheme()), known.coder);
    EXPECT_EQ(FindScheme(known.coder->name()), known.coder);
    EXPECT_EQ(SchemeName(known.coder->scheme()), known.coder->name());
    EXPECT_EQ(FindCudaScheme(known.coder->scheme()), known.cuda);
  }
  EXPECT_EQ(FindScheme(static_cast<Scheme>(0)), nullptr);
  EXPECT_EQ(FindScheme("INT8"), nullptr);
  EXPECT_EQ(FindCudaScheme(static_cast<Scheme>(0)), nullptr);
}

}  // namespace
}  // namespace qc2c
