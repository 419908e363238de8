#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <limits>

#include "common/base/bounded_json.h"
#include "common/base/bytes.h"
#include "common/base/files.h"
#include "common/base/hash.h"

namespace qc2c {
namespace {

TEST(CheckedProductTest, ReportsOverflowInsteadOfWrapping) {
  EXPECT_EQ(CheckedProduct({}), 1u);
  EXPECT_EQ(CheckedProduct({3, 5, 7}), 105u);
  EXPECT_EQ(CheckedProduct({uint64_t{1} << 63, 2}), std::nullopt);
  EXPECT_EQ(CheckedProduct({std::numeric_limits<uint64_t>::max(), 1}),
            std::numeric_limits<uint64_t>::max());
}

TEST(HexTest, WritesTwoLowerCaseDigitsAByte) {
  const std::string bytes("\x00\x7f\xab", 3);
  EXPECT_EQ(ToHex(AsBytes(bytes)), "007fab");
}

// The value for no input is the one that the algorithm's own documentation publishes.
TEST(HashTest, IsXxh3) {
  EXPECT_EQ(Hash({}), 0x2d06800538d394c2u);
  EXPECT_EQ(HashText(Hash({})), "2d06800538d394c2");
}

TEST(HashTest, OfFilesIsThatOfTheirLengthsAndContents) {
  const std::filesystem::path folder = ::testing::TempDir();
  const std::string large(3'000'001, 'x');  // of several chunks
  ASSERT_TRUE(WriteFileAtomically(folder / "qc2c_large", large).ok());
  ASSERT_TRUE(WriteFileAtomically(folder / "qc2c_empty", "").ok());
  EXPECT_EQ(HashFiles({folder / "qc2c_large", folder / "qc2c_empty"}).value(),
            Hasher().AddU64(large.size()).Add(AsBytes(large)).AddU64(0).Digest());
  EXPECT_EQ(HashFiles({folder / "qc2c_none"}).status().code(), absl::StatusCode::kNotFound);
  std::filesystem::remove(folder / "qc2c_large");
  std::filesystem::remove(folder / "qc2c_empty");
}

TEST(BoundedJsonTest, CountsBracketsOutsideOfTexts) {
  const auto nested = [](int depth) {
    std::string text;
    for (int i = 0; i < depth; ++i) text += i % 2 == 0 ? "[" : "{\"a\":";
    text += "1";
    for (int i = depth; i-- > 0;) text += i % 2 == 0 ? "]" : "}";
    return text;
  };
  EXPECT_FALSE(NestsTooDeep(nested(kMaxJsonDepth)));
  EXPECT_TRUE(NestsTooDeep(nested(kMaxJsonDepth + 1)));
  std::string wide = "[";
  for (int i = 0; i < 1000; ++i) wide += "[1],";
  EXPECT_FALSE(NestsTooDeep(wide + "[]]"));
  EXPECT_FALSE(NestsTooDeep("{\"a\": \"" + std::string(1000, '[') + "\\\"" +
                            std::string(1000, '{') + "\"}"));
}

TEST(HashTest, IncrementalEqualsWhole) {
  const std::string text = "abcdefgh";
  Hasher hasher;
  hasher.Add(AsBytes(text).first(3)).Add(AsBytes(text).subspan(3));
  EXPECT_EQ(hasher.Digest(), Hash(AsBytes(text)));
  EXPECT_EQ(Hasher().AddU32(0x64636261).AddU32(0x68676665).Digest(), Hash(AsBytes(text)));
  EXPECT_EQ(Hasher().AddU64(0x6867666564636261).Digest(), Hash(AsBytes(text)));
}

TEST(FilesTest, WritesAtomicallyAndReadsBack) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "qc2c_files";
  std::filesystem::remove_all(folder);
  const auto path = folder / "deep" / "a.txt";
  ASSERT_TRUE(WriteFileAtomically(path, "one").ok());
  ASSERT_TRUE(WriteFileAtomically(path, "two").ok());
  EXPECT_EQ(ReadFile(path).value(), "two");
  ASSERT_TRUE(WriteFileAtomically(path, "").ok());
  EXPECT_EQ(ReadFile(path).value(), "");
  const auto entries = std::filesystem::directory_iterator(path.parent_path());
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 1);
}

TEST(FilesTest, MissingFileIsNamed) {
  const auto missing = ReadFile("/no/such/file");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.status().message()), testing::HasSubstr("/no/such/file"));
}

}  // namespace
}  // namespace qc2c
