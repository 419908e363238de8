#include "common/wire/field_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qc2c {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Error(const FieldReader& fields) {
  EXPECT_EQ(fields.Finish().code(), absl::StatusCode::kInvalidArgument);
  return std::string(fields.Finish().message());
}

// The error of reading field 1 as a varint from `bytes`.
std::string Uint32Error(const std::string& bytes) {
  FieldReader fields(AsBytes(bytes), "Message");
  EXPECT_EQ(fields.Uint32(1), 0);
  return Error(fields);
}

TEST(FieldReaderTest, FieldsComeInOrderAndAbsentOnesAreZero) {
  const std::string bytes("\x08\x96\x01\x19\x01\x02\x03\x04\x05\x06\x07\x08\x22\x02hi", 16);
  FieldReader fields(AsBytes(bytes), "Message");
  EXPECT_EQ(fields.Uint32(1), 150);
  EXPECT_EQ(fields.Uint32(2), 0);
  EXPECT_EQ(fields.Fixed64(3), 0x0807060504030201u);
  EXPECT_EQ(fields.offset(), 12);
  const auto text = fields.Delimited(4);
  ASSERT_TRUE(text.has_value());
  EXPECT_EQ(std::string(text->begin(), text->end()), "hi");
  EXPECT_FALSE(fields.Delimited(5).has_value());
  EXPECT_TRUE(fields.Finish().ok());
}

TEST(FieldReaderTest, TheLargestVarintOf32BitsIsRead) {
  const std::string bytes("\x08\xff\xff\xff\xff\x0f");
  FieldReader fields(AsBytes(bytes), "Message");
  EXPECT_EQ(fields.Uint32(1), 0xffffffffu);
  EXPECT_TRUE(fields.Finish().ok());
}

TEST(FieldReaderTest, AWrittenDefaultIsRefused) {
  EXPECT_THAT(Uint32Error(std::string("\x08\x00", 2)), HasSubstr("field 1 is 0"));
  const std::string fixed("\x09\0\0\0\0\0\0\0\0", 9);
  FieldReader eight(AsBytes(fixed), "Message");
  eight.Fixed64(1);
  EXPECT_THAT(Error(eight), HasSubstr("field 1 is 0: expected no field"));
  const std::string empty("\x0a\x00", 2);
  FieldReader bytes(AsBytes(empty), "Message");
  EXPECT_FALSE(bytes.Delimited(1).has_value());
  EXPECT_THAT(Error(bytes), HasSubstr("field 1 has 0 bytes"));
}

TEST(FieldReaderTest, AVarintThatIsCutOffTooLongOrTooLargeIsRefused) {
  EXPECT_THAT(Uint32Error("\x08"), HasSubstr("varint"));
  EXPECT_THAT(Uint32Error("\x08\x96"), HasSubstr("varint"));
  EXPECT_THAT(Uint32Error(std::string("\x08\x96\x80\x00", 4)), HasSubstr("varint"));
  EXPECT_THAT(Uint32Error(std::string("\x08\x80\x00", 3)), HasSubstr("varint"));
  EXPECT_THAT(Uint32Error("\x08\x80\x80\x80\x80\x10"), HasSubstr("field 1 is 4294967296"));
  // 2^64 - 1 is a varint, 2^64 + 1 and eleven bytes are not.
  EXPECT_THAT(Uint32Error("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
              HasSubstr("field 1 is 18446744073709551615"));
  EXPECT_THAT(Uint32Error("\x08\x81\x80\x80\x80\x80\x80\x80\x80\x80\x02"), HasSubstr("varint"));
  EXPECT_THAT(Uint32Error("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), HasSubstr("varint"));
}

TEST(FieldReaderTest, ALengthBeyondTheMessageIsRefused) {
  for (const std::string& bytes :
       {std::string("\x0a\x03hi"), std::string("\x0a\xff\xff\xff\xff\x0fhi"),
        std::string("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01hi")}) {
    FieldReader fields(AsBytes(bytes), "Message");
    EXPECT_FALSE(fields.Delimited(1).has_value());
    EXPECT_THAT(Error(fields), AllOf(HasSubstr("Message: field 1 has"),
                                     HasSubstr("expected 1 to 2, the rest of the message")));
  }
  const std::string seven("\x09\1\1\1\1\1\1\1");
  FieldReader fields(AsBytes(seven), "Message");
  EXPECT_EQ(fields.Fixed64(1), 0);
  EXPECT_THAT(Error(fields), HasSubstr("field 1 has 7 bytes: expected 8"));
}

TEST(FieldReaderTest, WhatNobodyAskedForIsRefusedWithItsPlace) {
  const std::string repeated("\x08\x01\x08\x01");
  FieldReader fields(AsBytes(repeated), "Message");
  EXPECT_EQ(fields.Uint32(1), 1);
  EXPECT_THAT(Error(fields), HasSubstr("byte 2 is unknown, repeated, out of order"));
  const std::string wrong_type("\x0a\x01x");
  EXPECT_THAT(Uint32Error(wrong_type), HasSubstr("byte 0 is unknown"));
}

TEST(FieldReaderTest, AfterAViolationEverythingReadsAsAbsent) {
  const std::string bytes("\x08\x00\x10\x05", 4);
  FieldReader fields(AsBytes(bytes), "Message");
  EXPECT_EQ(fields.Uint32(1), 0);
  EXPECT_EQ(fields.Uint32(2), 0);
  EXPECT_THAT(Error(fields), HasSubstr("field 1"));
}

}  // namespace
}  // namespace qc2c
