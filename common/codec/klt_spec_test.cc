#include "common/codec/klt_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qc2c {
namespace {

using testing::HasSubstr;

std::string Refusal(const std::string& text) {
  return std::string(CodecSpec::Parse(text).status().message());
}

TEST(KltSpecTest, ATextGivesTheCodecAndTheCodecTheText) {
  for (const char* text : {"klt,codebook=00000000000000ff,level=0", "klt,level=12",
                           "klt,codebook=fedcba9876543210,budget_bytes=128", "klt,budget_bytes=1",
                           "klt,level=3,fallback=int4",
                           "klt,codebook=fedcba9876543210,budget_bytes=128,fallback=bf16"}) {
    const absl::StatusOr<CodecSpec> codec = CodecSpec::Parse(text);
    ASSERT_TRUE(codec.ok()) << codec.status();
    EXPECT_EQ(codec->ToString(), text);
    EXPECT_EQ(CodecSpec::Parse(codec->ToString()).value(), *codec);
  }
  const CodecSpec codec = CodecSpec::Parse("klt,codebook=00000000000000ff,level=3").value();
  EXPECT_EQ(codec, CodecSpec::Klt({.codebook = 0xff, .level = 3}));
}

TEST(KltSpecTest, WrongTextsAreRefusedByName) {
  EXPECT_THAT(Refusal("klt"), HasSubstr("one of level and budget_bytes"));
  EXPECT_THAT(Refusal("klt,level=1,budget_bytes=9"), HasSubstr("one of level and budget_bytes"));
  EXPECT_THAT(Refusal("klt,codebook=ff,level=1"), HasSubstr("16 hexadecimal digits"));
  EXPECT_THAT(Refusal("klt,codebook=0000000000000000,level=1"), HasSubstr("codebook is"));
  EXPECT_THAT(Refusal("klt,level=-1"), HasSubstr("level is '-1'"));
  EXPECT_THAT(Refusal("klt,budget_bytes=0"), HasSubstr("budget_bytes is '0'"));
  EXPECT_THAT(Refusal("klt,level=1,level=2"), HasSubstr("'level' is given twice"));
  EXPECT_THAT(Refusal("klt,select=back"), HasSubstr("unknown key 'select' of klt"));
  EXPECT_THAT(Refusal("klt,level=1,fallback=klt"), HasSubstr("fallback is 'klt'"));
  EXPECT_THAT(Refusal("klt,level=1,fallback=int9"), HasSubstr("the name of another scheme"));
  EXPECT_THAT(Refusal("klt,level"), HasSubstr("expected key=value"));
}

TEST(KltSpecTest, AChoiceOfKltGoesWithItsSchemeAlone) {
  CodecSpec codec = CodecSpec::Parse("int8").value();
  codec.klt = KltChoice{.level = 0};
  EXPECT_FALSE(codec.Validate().ok());
  codec = CodecSpec::Klt({.level = 0});
  EXPECT_TRUE(codec.Validate().ok());
  codec.seed = 1;
  EXPECT_FALSE(codec.Validate().ok());
  codec = CodecSpec::Klt({.level = 0});
  codec.klt->fallback = Scheme::kKlt;
  EXPECT_FALSE(codec.Validate().ok());
  codec.klt.reset();
  EXPECT_FALSE(codec.Validate().ok());
}

}  // namespace
}  // namespace qc2c
