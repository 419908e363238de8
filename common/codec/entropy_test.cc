#include "common/codec/entropy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>

#include "common/codec/bit_packing.h"
#include "common/codec/codec_spec.h"
#include "common/codec/scheme_registry.h"
#include "common/codec/test_codes.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;

TEST(EntropyTest, CodesComeBackForEverySchemeAndSize) {
  for (const Scheme scheme : CodedSchemes()) {
    for (const int32_t head_dim : {1, 7, 64, 1024}) {
      const CodeSource source = {scheme, head_dim};
      for (const size_t num_rows : {1, 2, 65, 200}) {
        const std::vector<uint8_t> codes = PeakedCodes(source, num_rows, 3);
        for (const Entropy entropy : kAllEntropies) {
          const std::vector<uint8_t> coded = EncodeCodes(entropy, source, codes);
          EXPECT_LE(coded.size(), MaxCodedBytes(entropy, source, codes.size()));
          std::vector<uint8_t> decoded(codes.size(), 0xee);
          ASSERT_TRUE(DecodeCodes(entropy, source, coded, decoded).ok());
          ASSERT_EQ(decoded, codes) << SchemeName(scheme) << " " << EntropyName(entropy) << " "
                                    << num_rows << " x " << head_dim;
        }
      }
    }
  }
}

double EmpiricalEntropyBytes(const CodeSource& source, ByteSpan codes) {
  const SchemeCoder& coder = *FindScheme(source.scheme);
  const size_t row_bytes = coder.RowBytes(source.head_dim);
  std::vector<double> counts(256, 0);
  std::vector<uint8_t> row(source.head_dim);
  for (size_t at = 0; at < codes.size(); at += row_bytes) {
    UnpackCodes(coder.bits_per_value(), codes.data() + at, row.size(), row.data());
    for (const uint8_t code : row) ++counts[code];
  }
  const size_t num_rows = codes.size() / row_bytes;
  const double total = static_cast<double>(num_rows * row.size());
  double bits = 0;
  for (const double count : counts) bits += count > 0 ? count * std::log2(total / count) : 0;
  return bits / 8;
}

TEST(EntropyTest, ALongStreamOfNormalCodesIsWithinTwoPercentOfItsEntropy) {
  for (const Scheme scheme : CodedSchemes()) {
    if (scheme == Scheme::kBinary) continue;  // a fair coin: nothing to gain
    const CodeSource source = {scheme, 64};
    const std::vector<uint8_t> codes = PeakedCodes(source, 8192, 4);
    const double entropy = EmpiricalEntropyBytes(source, codes);
    ASSERT_GE(entropy, 32 << 10);
    const double coded = static_cast<double>(EncodeCodes(Entropy::kRans, source, codes).size());
    EXPECT_LE(coded, 1.02 * entropy) << SchemeName(scheme);
    EXPECT_GE(coded, entropy);
  }
}

// The entropy of a rounded normal of sigma .7 is 1.55 bits, and that of all codes together 3.9.
TEST(EntropyTest, ChannelsThatDifferGetTablesOfTheirOwn) {
  const CodeSource source = {Scheme::kInt4, 64, 2};
  for (const size_t num_tokens : {141, 600}) {  // 600: two segments
    const std::vector<uint8_t> codes = ChannelCodes(source, num_tokens);
    const std::vector<uint8_t> coded = EncodeCodes(Entropy::kRans, source, codes);
    const double list = 2 * 128 * (num_tokens > 512 ? 2 : 1);
    const double bits =
        8 * (static_cast<double>(coded.size()) - list) / (static_cast<double>(num_tokens) * 128);
    EXPECT_LT(bits, 1.7);
    EXPECT_GT(bits, 1.3);  // clamping takes some
    std::vector<uint8_t> decoded(codes.size());
    ASSERT_TRUE(DecodeCodes(Entropy::kRans, source, coded, decoded).ok());
    EXPECT_EQ(decoded, codes);
  }
}

TEST(EntropyTest, ACodeThatTheQuantizerLeavesOutComesBackToo) {
  std::vector<uint8_t> codes(64, 0);
  codes[5] = 0x80;  // -128
  const CodeSource source = {Scheme::kInt8, 64};
  const std::vector<uint8_t> coded = EncodeCodes(Entropy::kRans, source, codes);
  EXPECT_LT(coded.size(), 10u);
  std::vector<uint8_t> decoded(64);
  ASSERT_TRUE(DecodeCodes(Entropy::kRans, source, coded, decoded).ok());
  EXPECT_EQ(decoded, codes);
}

TEST(EntropyTest, RowsThatDoNotEndWithZerosComeBackToo) {
  const CodeSource source = {Scheme::kInt4, 5};  // three bytes, the last half of one unused
  std::vector<uint8_t> codes(3 * 100, 0);
  const size_t bytes = EncodeCodes(Entropy::kRans, source, codes).size();
  EXPECT_LT(bytes, 10u);
  codes.back() = 0x80;
  const std::vector<uint8_t> coded = EncodeCodes(Entropy::kRans, source, codes);
  std::vector<uint8_t> decoded(codes.size());
  ASSERT_TRUE(DecodeCodes(Entropy::kRans, source, coded, decoded).ok());
  EXPECT_EQ(decoded, codes);
}

TEST(EntropyTest, WhatCannotBeMadeSmallerIsStored) {
  std::vector<uint8_t> codes(512);
  std::mt19937 random(1);
  std::ranges::generate(codes, [&] { return static_cast<uint8_t>(random()); });
  for (const Entropy entropy : {Entropy::kRans, Entropy::kZstd}) {
    const std::vector<uint8_t> coded = EncodeCodes(entropy, {Scheme::kInt4, 64}, codes);
    EXPECT_EQ(coded.size(), codes.size() + 1);
    EXPECT_EQ(coded.front(), 0);
  }
}

// A frame of RFC 8878 written by hand: magic number, a header without content size (window of 1
// KiB), a last block of 4 raw bytes.
TEST(EntropyTest, AZstdFrameWrittenByHandIsRead) {
  const std::vector<uint8_t> coded = {1,    0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x00,
                                      0x21, 0x00, 0x00, 9,    8,    7,    6};
  std::vector<uint8_t> codes(4);
  ASSERT_TRUE(DecodeCodes(Entropy::kZstd, {Scheme::kInt8, 4}, coded, codes).ok());
  EXPECT_EQ(codes, (std::vector<uint8_t>{9, 8, 7, 6}));
}

TEST(EntropyTest, EveryTruncationIsRefused) {
  const CodeSource source = {Scheme::kInt4, 64};
  const std::vector<uint8_t> codes = PeakedCodes(source, 1100, 5);  // two segments
  std::vector<uint8_t> decoded(codes.size());
  for (const Entropy entropy : kAllEntropies) {
    const std::vector<uint8_t> whole = EncodeCodes(entropy, source, codes);
    for (size_t n = 0; n < whole.size(); n += n < 64 || n + 64 > whole.size() ? 1 : 97) {
      const auto part = std::make_unique<uint8_t[]>(n);  // exact size, so ASan sees an overrun
      std::copy_n(whole.data(), n, part.get());
      EXPECT_EQ(DecodeCodes(entropy, source, {part.get(), n}, decoded).code(),
                absl::StatusCode::kDataLoss)
          << EntropyName(entropy) << " at " << n;
    }
  }
}

std::string Error(Entropy entropy, std::vector<uint8_t> coded, size_t codes_bytes) {
  std::vector<uint8_t> codes(codes_bytes);
  const absl::Status status = DecodeCodes(entropy, {Scheme::kInt8, 64}, coded, codes);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  return std::string(status.message());
}

TEST(EntropyTest, WhatIsNotACodingIsRefusedByName) {
  EXPECT_THAT(Error(Entropy::kRans, {}, 64), HasSubstr("a segment is empty"));
  EXPECT_THAT(Error(Entropy::kRans, {130}, 64), HasSubstr("table 130: expected 1 to 128"));
  EXPECT_THAT(Error(Entropy::kRans, {129, 1, 0}, 64), HasSubstr("tables for 64 channels"));
  std::vector<uint8_t> wrong(1 + 2 * 64 + 40, 129);
  EXPECT_THAT(Error(Entropy::kRans, wrong, 64), HasSubstr("table 129"));
  EXPECT_THAT(Error(Entropy::kRans, {0, 1, 2}, 64), HasSubstr("2 bytes stored: expected 64"));
  EXPECT_THAT(Error(Entropy::kRans, {1, 0}, 64), HasSubstr("ends with a zero"));
  EXPECT_THAT(Error(Entropy::kRans, {9, 0, 0}, 65600), HasSubstr("the length of a segment"));
  EXPECT_THAT(Error(Entropy::kRans, {255, 255, 255, 255, 1}, 65600),
              HasSubstr("a segment of 4294967295 bytes where 1 are left"));
  EXPECT_THAT(Error(Entropy::kZstd, {2, 1}, 64), HasSubstr("begins with 2: expected 0 or 1"));
  EXPECT_THAT(Error(Entropy::kZstd, {1, 1}, 64), HasSubstr("zstd: "));
  std::vector<uint8_t> zeros(128, 0);
  EXPECT_THAT(Error(Entropy::kZstd, EncodeCodes(Entropy::kZstd, {Scheme::kInt8, 64}, zeros), 192),
              HasSubstr("zstd gives 128 bytes: expected 192"));
  EXPECT_THAT(Error(Entropy::kNone, {1, 2}, 64), HasSubstr("expected 64"));
}

TEST(EntropyTest, ACodecSaysItsEntropyAndRansOnAFloatIsRefused) {
  EXPECT_EQ(CodecSpec::Parse("int4,entropy=rans").value().ToString(), "int4,entropy=rans");
  EXPECT_EQ(CodecSpec::Parse("int4,entropy=none").value().ToString(), "int4");
  EXPECT_EQ(CodecSpec::Parse("bf16,entropy=zstd,select=back,keep_tokens=2").value().ToString(),
            "bf16,entropy=zstd,select=back,keep_tokens=2");
  const auto message = [](std::string_view text) {
    return std::string(CodecSpec::Parse(text).status().message());
  };
  EXPECT_THAT(message("bf16,entropy=rans"), HasSubstr("entropy is 'rans': expected none or zstd"));
  EXPECT_THAT(message("int4,entropy=lzma"), HasSubstr("entropy is 'lzma': expected none, rans"));
}

}  // namespace
}  // namespace qc2c
