#include "common/wire/position_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace qc2c {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

CodecSpec Selecting(Selection selection) {
  CodecSpec codec;
  codec.selection = selection;
  return codec;
}

CodedPositions Code(uint32_t num_tokens, const std::vector<uint32_t>& positions) {
  return CodePositions(Selecting(Selection::kKeyNorm), num_tokens, positions).value();
}

absl::StatusOr<std::vector<uint32_t>> Decode(uint32_t num_tokens, uint32_t num_kept,
                                             v1::IndexCoding coding, const std::string& indices) {
  return DecodePositions(Selecting(Selection::kKeyNorm), num_tokens, num_kept, coding,
                         AsBytes(indices));
}

TEST(PositionListTest, FewPositionsAreDeltas) {
  // 3; 3 + 1 + 0 = 4; 4 + 1 + 299 = 304, and 299 is 0xab 0x02 as a varint.
  const CodedPositions coded = Code(1000, {3, 4, 304});
  EXPECT_EQ(coded.coding, v1::INDEX_CODING_DELTAS);
  EXPECT_EQ(coded.indices, std::string("\x03\x00\xab\x02", 4));
}

TEST(PositionListTest, ManyPositionsAreABitmapFromTheLowestBit) {
  const CodedPositions coded = Code(11, {0, 1, 3, 8, 10});
  EXPECT_EQ(coded.coding, v1::INDEX_CODING_BITMAP);
  EXPECT_EQ(coded.indices, std::string("\x0b\x05"));
}

TEST(PositionListTest, TheBitmapWinsATie) {
  EXPECT_EQ(Code(16, {1, 9}).coding, v1::INDEX_CODING_BITMAP);
  EXPECT_EQ(Code(17, {1, 9}).coding, v1::INDEX_CODING_DELTAS);
}

TEST(PositionListTest, WhatTheSelectionSaysTakesNoBytes) {
  const auto nothing = [](Selection selection, const std::vector<uint32_t>& positions) {
    const CodedPositions coded = CodePositions(Selecting(selection), 5, positions).value();
    return coded.coding == v1::INDEX_CODING_NONE && coded.indices.empty();
  };
  EXPECT_TRUE(nothing(Selection::kAll, {0, 1, 2, 3, 4}));
  EXPECT_TRUE(nothing(Selection::kFront, {0, 1}));
  EXPECT_TRUE(nothing(Selection::kBack, {3, 4}));
  EXPECT_TRUE(nothing(Selection::kStrided, {2, 4}));
  EXPECT_TRUE(nothing(Selection::kKeyNorm, {0, 1, 2, 3, 4}));
  EXPECT_TRUE(nothing(Selection::kValueNorm, {0, 1, 2, 3, 4}));
}

TEST(PositionListTest, PositionsThatContradictTheSelectionAreRefused) {
  EXPECT_FALSE(CodePositions(Selecting(Selection::kFront), 5, {1, 2}).ok());
  EXPECT_FALSE(CodePositions(Selecting(Selection::kBack), 5, {0, 1}).ok());
  EXPECT_FALSE(CodePositions(Selecting(Selection::kStrided), 5, {1, 4}).ok());
  EXPECT_FALSE(CodePositions(Selecting(Selection::kKeyNorm), 5, {}).ok());
  EXPECT_FALSE(CodePositions(Selecting(Selection::kKeyNorm), 5, {2, 2}).ok());
  EXPECT_FALSE(CodePositions(Selecting(Selection::kKeyNorm), 5, {2, 1}).ok());
  EXPECT_FALSE(CodePositions(Selecting(Selection::kKeyNorm), 5, {2, 5}).ok());
}

TEST(PositionListTest, SeveralIndexSetsAreCodedAlikeOneAfterAnother) {
  const CodecSpec codec = Selecting(Selection::kKeyNorm);
  const auto few = CodePositions(codec, 1000, {3, 304, 0, 1, 5, 999}, 3).value();
  EXPECT_EQ(few.coding, v1::INDEX_CODING_DELTAS);
  EXPECT_EQ(few.indices, std::string("\x03\xac\x02\x00\x00\x05\xe1\x07", 8));
  const auto many = CodePositions(codec, 9, {0, 1, 8, 2, 3, 4}, 2).value();
  EXPECT_EQ(many.coding, v1::INDEX_CODING_BITMAP);
  EXPECT_EQ(many.indices, std::string("\x03\x01\x1c\x00", 4));
  EXPECT_THAT(DecodePositions(codec, 1000, 2, few.coding, AsBytes(few.indices), 3).value(),
              ElementsAre(3, 304, 0, 1, 5, 999));
  EXPECT_THAT(DecodePositions(codec, 9, 3, many.coding, AsBytes(many.indices), 2).value(),
              ElementsAre(0, 1, 8, 2, 3, 4));
  EXPECT_EQ(CodePositions(codec, 2, {0, 1, 0, 1}, 2).value().coding, v1::INDEX_CODING_NONE);
  EXPECT_THAT(DecodePositions(codec, 2, 2, v1::INDEX_CODING_NONE, {}, 2).value(),
              ElementsAre(0, 1, 0, 1));
}

TEST(PositionListTest, IndexSetsThatNoWriterWritesAreRefused) {
  const CodecSpec codec = Selecting(Selection::kKeyNorm);
  EXPECT_FALSE(CodePositions(codec, 9, {0, 1, 8}, 2).ok());
  EXPECT_FALSE(CodePositions(codec, 9, {0, 1, 4, 4}, 2).ok());
  const std::string whole("\x03\x01\x1c\x00", 4);
  for (const std::string& indices :
       {whole.substr(0, 3), whole + std::string(1, '\0'), std::string("\x03\x01\x18\x00", 4),
        std::string("\x03\x01\x1e\x00", 4), std::string("\x03\x01\x1c\x02", 4)}) {
    EXPECT_FALSE(DecodePositions(codec, 9, 3, v1::INDEX_CODING_BITMAP, AsBytes(indices), 2).ok())
        << ToHex(AsBytes(indices));
  }
}

TEST(PositionListTest, MoreIndicesThanAHeaderMayHoldAreRefused) {
  std::vector<uint32_t> positions;
  for (int set = 0; set < 2; ++set) {
    for (uint32_t i = 0; i < KvLayout::kMaxTokens / 2; ++i) positions.push_back(2 * i);
  }
  const absl::Status status =
      CodePositions(Selecting(Selection::kKeyNorm), KvLayout::kMaxTokens, positions, 2).status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("2 index sets take 262144 bytes: expected at most 131072"));
}

TEST(PositionListTest, RandomListsComeBackInTheShorterOfBothCodings) {
  std::mt19937 random(3);
  for (int round = 0; round < 3000; ++round) {
    const uint32_t num_tokens = 1 + random() % (round % 10 == 0 ? 100'000 : 300);
    std::vector<uint32_t> positions;
    const uint32_t one_in = 1 + random() % 40;
    for (uint32_t i = 0; i < num_tokens; ++i) {
      if (random() % one_in == 0) positions.push_back(i);
    }
    if (positions.empty()) positions.push_back(num_tokens - 1);
    const CodedPositions coded = Code(num_tokens, positions);
    EXPECT_LE(coded.indices.size(), (num_tokens + 7) / 8);
    const auto decoded =
        Decode(num_tokens, static_cast<uint32_t>(positions.size()), coded.coding, coded.indices);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(*decoded, positions);
  }
}

TEST(PositionListTest, AnyOtherSpellingIsRefused) {
  const auto refused = [](uint32_t num_tokens, uint32_t num_kept, v1::IndexCoding coding,
                          const std::string& indices) {
    return Decode(num_tokens, num_kept, coding, indices).status().code() ==
           absl::StatusCode::kInvalidArgument;
  };
  const auto bitmap = v1::INDEX_CODING_BITMAP;
  const auto deltas = v1::INDEX_CODING_DELTAS;
  EXPECT_THAT(Decode(20, 2, deltas, "\x03\x07").value(), ElementsAre(3, 11));
  EXPECT_TRUE(refused(20, 2, deltas, "\x03"));                          // one position
  EXPECT_TRUE(refused(20, 2, deltas, std::string("\x03\x07\x00", 3)));  // three
  EXPECT_TRUE(refused(20, 2, deltas, std::string("\x83\x00\x07", 3)));  // a varint too long
  EXPECT_TRUE(refused(20, 2, deltas, "\x03\x87"));                      // a varint cut off
  EXPECT_TRUE(refused(20, 2, deltas, "\x03\x10"));                      // position 20
  EXPECT_TRUE(refused(20, 2, deltas, "\x03\xff\xff\xff\xff\x0f"));      // position 2^32 + 3
  EXPECT_TRUE(refused(20, 2, deltas, "\x03\xff\xff\xff\xff\xff\xff"));  // more than 35 bits
  EXPECT_TRUE(refused(20, 2, bitmap, std::string("\x08\x08\x00", 3)));  // longer than deltas
  EXPECT_THAT(Decode(12, 2, bitmap, "\x08\x08").value(), ElementsAre(3, 11));
  EXPECT_TRUE(refused(12, 2, deltas, "\x03\x07"));                      // no shorter than a bitmap
  EXPECT_TRUE(refused(12, 2, bitmap, "\x08\x18"));                      // a bit beyond the tokens
  EXPECT_TRUE(refused(12, 2, bitmap, "\x08"));                          // one position
  EXPECT_TRUE(refused(12, 2, bitmap, "\x18\x08"));                      // three
  EXPECT_TRUE(refused(12, 2, bitmap, std::string("\x08\x08\x00", 3)));  // a byte more
  EXPECT_TRUE(refused(12, 2, v1::INDEX_CODING_NONE, "\x08\x08"));
  EXPECT_TRUE(refused(12, 2, static_cast<v1::IndexCoding>(3), "\x08\x08"));
}

TEST(PositionListTest, ImpliedPositionsMustComeWithoutBytes) {
  const std::string indices = "\x03";
  EXPECT_THAT(DecodePositions(Selecting(Selection::kBack), 5, 2, v1::INDEX_CODING_NONE, {}).value(),
              ElementsAre(3, 4));
  const auto with_bytes =
      DecodePositions(Selecting(Selection::kBack), 5, 2, v1::INDEX_CODING_NONE, AsBytes(indices));
  EXPECT_THAT(std::string(with_bytes.status().message()), HasSubstr("header.indices: 1 bytes"));
  EXPECT_FALSE(
      DecodePositions(Selecting(Selection::kBack), 5, 2, v1::INDEX_CODING_DELTAS, {}).ok());
}

}  // namespace
}  // namespace qc2c
