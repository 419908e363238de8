// Files that torch.save wrote, and files that nobody should load: $QC2C_STATE_DICT_FIXTURES, from
// tests/parity/state_dict_fixtures.py.
#include "common/fuser/pickle_state_dict.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "common/base/files.h"
#include "common/fuser/pickle_reader.h"
#include "common/fuser/stored_zip.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;

class PickleStateDictTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* root = std::getenv("QC2C_STATE_DICT_FIXTURES");
    ASSERT_NE(root, nullptr) << "set QC2C_STATE_DICT_FIXTURES to what state_dict_fixtures.py wrote";
    root_ = root;
  }

  std::string Archive() { return ReadFile(root_ / "sound/views_of_one_storage.pt").value(); }

  std::filesystem::path root_;
};

TEST_F(PickleStateDictTest, WhatTorchSavedReadsAsTheSameBits) {
  size_t num_files = 0;
  for (const auto& file : std::filesystem::directory_iterator(root_ / "sound")) {
    if (file.path().extension() != ".pt") continue;
    ++num_files;
    const absl::StatusOr<NamedTensors> found = ReadStateDict(file.path());
    ASSERT_TRUE(found.ok()) << found.status();
    std::filesystem::path twin = file.path();
    const NamedTensors read = ReadSafetensors(twin.replace_extension(".safetensors")).value();
    const std::map<std::string, at::Tensor> expected(read.begin(), read.end());
    ASSERT_EQ(found->size(), expected.size()) << file.path();
    for (const auto& [name, tensor] : *found) {
      ASSERT_EQ(expected.count(name), 1u) << name;
      EXPECT_EQ(tensor.scalar_type(), expected.at(name).scalar_type()) << name;
      EXPECT_TRUE(at::equal(tensor, expected.at(name))) << file.path() << ": " << name;
    }
  }
  EXPECT_EQ(num_files, 6u);
}

TEST_F(PickleStateDictTest, TensorsOutliveTheFile) {
  const auto copy = std::filesystem::path(::testing::TempDir()) / "qc2c_state_dict.pt";
  ASSERT_TRUE(WriteFileAtomically(copy, Archive()).ok());
  const NamedTensors tensors = ReadStateDict(copy).value();
  std::filesystem::remove(copy);
  EXPECT_EQ(tensors[1].second.sum().item<float>(), 23 * 24 / 2);
}

TEST_F(PickleStateDictTest, CodeAndBrokenFilesAreRefusedByNameAndFault) {
  const auto words = nlohmann::json::parse(ReadFile(root_ / "refused.json").value());
  EXPECT_GT(words.size(), 30u);
  for (const auto& [name, expected] : words.items()) {
    const absl::Status status = ReadStateDict(root_ / "refused" / (name + ".pt")).status();
    ASSERT_FALSE(status.ok()) << name;
    const std::string message(status.message());
    EXPECT_THAT(message, HasSubstr(name + ".pt: "));
    for (const auto& word : expected) EXPECT_THAT(message, HasSubstr(word.get<std::string>()));
  }
  EXPECT_FALSE(std::filesystem::exists("/hacked"));
  EXPECT_EQ(ReadStateDict(root_ / "nowhere.pt").status().code(), absl::StatusCode::kNotFound);
}

// A block of exactly that size, so that a sanitizer sees a read past its end.
template <typename Read>
void WithExactly(const std::string& content, size_t bytes, const Read& read) {
  const auto block = std::make_unique<uint8_t[]>(bytes);
  std::copy_n(content.begin(), bytes, block.get());
  read(ByteSpan(block.get(), bytes));
}

TEST_F(PickleStateDictTest, EveryTruncationOfTheArchiveIsRefused) {
  const std::string archive = Archive();
  ASSERT_TRUE(ReadStoredZip(AsBytes(archive)).ok());
  for (size_t bytes = 0; bytes < archive.size(); ++bytes) {
    WithExactly(archive, bytes,
                [&](ByteSpan part) { EXPECT_FALSE(ReadStoredZip(part).ok()) << "at " << bytes; });
  }
}

TEST_F(PickleStateDictTest, EveryTruncationOfThePickleIsRefused) {
  const std::string archive = Archive();
  const auto entries = ReadStoredZip(AsBytes(archive)).value();
  const ByteSpan span = entries.at("views_of_one_storage/data.pkl");
  const std::string pickle(span.begin(), span.end());
  ASSERT_EQ(ReadPickledStateDict(AsBytes(pickle))->size(), 2u);
  for (size_t bytes = 0; bytes < pickle.size(); ++bytes) {
    WithExactly(pickle, bytes, [&](ByteSpan part) {
      EXPECT_FALSE(ReadPickledStateDict(part).ok()) << "at " << bytes;
    });
  }
}

// No claim about the result (many bytes mean nothing), but nothing outside the block is touched.
TEST_F(PickleStateDictTest, NoChangedByteLeadsOutsideTheFile) {
  const std::string archive = Archive();
  const auto entries = ReadStoredZip(AsBytes(archive)).value();
  const ByteSpan span = entries.at("views_of_one_storage/data.pkl");
  const std::string pickle(span.begin(), span.end());
  for (const int change : {0x01, 0x80, 0xff}) {
    for (size_t at = 0; at < archive.size(); ++at) {
      std::string changed = archive;
      changed[at] = static_cast<char>(changed[at] ^ change);
      WithExactly(changed, changed.size(), [](ByteSpan bytes) {
        const auto read = ReadStoredZip(bytes);
        if (!read.ok()) return;
        for (const auto& [name, entry] : *read) {
          EXPECT_GE(entry.data(), bytes.data());
          EXPECT_LE(entry.data() + entry.size(), bytes.data() + bytes.size());
        }
      });
    }
    for (size_t at = 0; at < pickle.size(); ++at) {
      std::string changed = pickle;
      changed[at] = static_cast<char>(changed[at] ^ change);
      WithExactly(changed, changed.size(), [](ByteSpan bytes) {
        const auto read = ReadPickledStateDict(bytes);
        if (!read.ok()) return;
        for (const PickledTensor& tensor : *read) EXPECT_GE(tensor.offset, 0);
      });
    }
  }
}

}  // namespace
}  // namespace qc2c
