// proto/FORMAT.md section 12, against the program: the page is what the test reads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <sstream>

#include "common/base/files.h"
#include "common/wire/test_frames.h"

namespace qc2c {
namespace {

using ::testing::ElementsAre;

bool IsHexByte(const std::string& word) {
  return word.size() == 2 && word.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// The bytes of the page's ```hex block: the words before the first that is not two hex digits, line
// by line.
std::string ExampleBytes(const std::string& page) {
  std::istringstream lines(page.substr(page.find("```hex\n") + 7));
  std::string bytes;
  for (std::string line; std::getline(lines, line) && line != "```";) {
    std::istringstream words(line);
    for (std::string word; words >> word && IsHexByte(word);) {
      bytes.push_back(static_cast<char>(std::stoi(word, nullptr, 16)));
    }
  }
  return bytes;
}

class FormatExampleTest : public testing::Test {
 protected:
  FormatExampleTest() {
    cache_.layout = {.num_layers = 1, .num_kv_heads = 1, .head_dim = 4};
    cache_.num_tokens = 3;
    cache_.keys = {{keys_, 4, 4}};
    cache_.values = {{values_, 4, 4}};
    const auto codec =
        CodecSpec::Parse("int4,axis=per_token,scale=fp16,select=key_norm,keep_tokens=2").value();
    frame_ = EncodeCache(cache_, KvLayerSet::Both({0}), codec).value();
    frame_.model_fingerprint = 0xfedcba9876543210;
  }

  const std::string example_ =
      ExampleBytes(ReadFile(std::string(QC2C_SOURCE_DIR) + "/proto/FORMAT.md").value());
  float keys_[12] = {1, -2, 3, 7, 0.25f, 0, 0, 0.25f, -3.5f, 0, 1.75f, 0.5f};
  float values_[12] = {14, -7, 0, 2, 1, 1, 1, 1, 0, 0, 0, 0};
  KvCacheView cache_;
  KvFrame frame_;
};

TEST_F(FormatExampleTest, TheWriterWritesTheBytesOfThePage) {
  EXPECT_THAT(WriteFrame(frame_, kDefaultChunkBytes).value(), ElementsAre(example_));
}

TEST_F(FormatExampleTest, TheReaderGetsTheValuesOfThePage) {
  FrameReader reader(ExpectationOf(frame_));
  ASSERT_TRUE(reader.Add(example_).ok());
  EXPECT_EQ(
      reader.bytes(),
      (WireBytes{.tx = 99, .payload = 8, .scales = 8, .indices = 1, .header = 82, .messages = 1}));
  const KvFrame read = reader.Finish().value();
  EXPECT_THAT(read.positions, ElementsAre(0, 2));
  float keys[8];
  float values[8];
  KvCacheView out{.layout = read.layout, .num_tokens = 2};
  out.keys = {{keys, 4, 4}};
  out.values = {{values, 4, 4}};
  ASSERT_TRUE(DecodeCache(read, out).ok());
  EXPECT_THAT(keys, ElementsAre(1, -2, 3, 7, -3.5f, 0, 2, 0.5f));
  EXPECT_THAT(values, ElementsAre(14, -8, 0, 2, 0, 0, 0, 0));
}

// The canonical bytes written out by hand from section 7.
TEST_F(FormatExampleTest, TheChecksumIsThatOfTheCanonicalBytes) {
  std::string bytes;
  const auto number = [&](uint64_t value, int width) {
    for (int i = 0; i < width; ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
  };
  number(2, 4);
  number(0xfedcba9876543210, 8);
  for (const int field : {1, 1, 4, 5, 1, 1, 4, 6, 2, 0, 0, 0, 0, 3, 2, 1, 1}) number(field, 4);
  bytes += '\x05';
  for (const int field : {1, 0, 1, 0}) number(field, 4);  // layer 0 in both lists
  for (const int field : {0, 0, 0, 2, 4}) number(field, 4);
  bytes += "\xe1\x73\x09\x14";
  number(4, 4);
  bytes += std::string("\x00\x3c\x00\x38", 4);
  for (const int field : {0, 1, 0, 2, 4}) number(field, 4);
  bytes += std::string("\xc7\x10\x00\x00", 4);
  number(4, 4);
  bytes += std::string("\x00\x40\x00\x00", 4);
  const uint64_t checksum = XXH3_64bits(bytes.data(), bytes.size());
  number(checksum, 8);
  EXPECT_EQ(example_.substr(example_.size() - 8), bytes.substr(bytes.size() - 8));
}

}  // namespace
}  // namespace qc2c
