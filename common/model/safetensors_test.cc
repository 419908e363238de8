#include "common/model/safetensors.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/files.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;

// 0, 1, 2, ... in every dtype that both this library and Python's write, and awkward shapes.
// tests/parity/model_safetensors.py expects the same.
NamedTensors Ramps() {
  NamedTensors tensors;
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong,
                                    at::kInt, at::kShort, at::kChar, at::kByte}) {
    tensors.emplace_back(absl::StrCat("ramp.", c10::toString(type)),
                         at::arange(15, at::kLong).to(type).view({3, 5}));
  }
  tensors.emplace_back("bool", at::arange(5, at::kLong).remainder(2).to(at::kBool));
  tensors.emplace_back("scalar", at::scalar_tensor(2.5, at::kFloat));
  tensors.emplace_back("empty", at::empty({0, 4}, at::kFloat));
  tensors.emplace_back("transposed", at::arange(6, at::kFloat).view({2, 3}).t());
  return tensors;
}

class SafetensorsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::path(::testing::TempDir()) /
            absl::StrCat("qc2c_", info->name(), ".safetensors");
  }
  void TearDown() override { std::filesystem::remove(path_); }

  // The status of reading a file of this header and `data_bytes` zero bytes.
  absl::Status Read(const std::string& header, size_t data_bytes) {
    const uint64_t length = header.size();
    std::string file(8, '\0');
    std::memcpy(file.data(), &length, 8);
    return ReadBytes(file + header + std::string(data_bytes, '\0'));
  }

  absl::Status ReadBytes(const std::string& content) {
    EXPECT_TRUE(WriteFileAtomically(path_, content).ok());
    return ReadSafetensors(path_).status();
  }

  std::filesystem::path path_;
};

std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return absl::StrCat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":", shape,
                      ",\"data_offsets\":", offsets, "}");
}

std::string Object(const std::vector<std::string>& entries) {
  return absl::StrCat("{", absl::StrJoin(entries, ","), "}");
}

TEST_F(SafetensorsTest, WhatIsWrittenReadsBackInTheOrderOfNames) {
  const char* out = std::getenv("QC2C_SAFETENSORS_OUT");  // kept for Python's reader
  const std::filesystem::path path = out == nullptr ? path_ : std::filesystem::path(out);
  const absl::Status written = WriteSafetensors(path, Ramps());
  ASSERT_TRUE(written.ok()) << written;
  absl::StatusOr<NamedTensors> read = ReadSafetensors(path);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->size(), Ramps().size());
  EXPECT_TRUE(std::is_sorted(read->begin(), read->end(),
                             [](const auto& a, const auto& b) { return a.first < b.first; }));
  for (const auto& [name, tensor] : Ramps()) {
    const auto found = std::find_if(read->begin(), read->end(),
                                    [&name](const auto& entry) { return entry.first == name; });
    ASSERT_NE(found, read->end()) << name;
    EXPECT_EQ(found->second.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(found->second, tensor)) << name;
  }
}

TEST_F(SafetensorsTest, WritingToAReadTensorLeavesTheFileAsItIs) {
  ASSERT_TRUE(WriteSafetensors(path_, {{"x", at::ones({4})}}).ok());
  ReadSafetensors(path_).value()[0].second.zero_();
  EXPECT_TRUE(at::equal(ReadSafetensors(path_).value()[0].second, at::ones({4})));
}

TEST_F(SafetensorsTest, ATensorOutlivesTheListThatItCameIn) {
  ASSERT_TRUE(WriteSafetensors(path_, {{"x", at::ones({4})}, {"y", at::zeros({4})}}).ok());
  const at::Tensor x = ReadSafetensors(path_).value()[0].second;
  std::filesystem::remove(path_);
  EXPECT_TRUE(at::equal(x, at::ones({4})));
}

TEST_F(SafetensorsTest, EveryTruncationIsRefused) {
  ASSERT_TRUE(WriteSafetensors(path_, Ramps()).ok());
  const std::string whole = ReadFile(path_).value();
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    EXPECT_FALSE(ReadBytes(whole.substr(0, bytes)).ok()) << "at " << bytes;
  }
  EXPECT_TRUE(ReadBytes(whole).ok());
  EXPECT_THAT(std::string(ReadBytes(whole + "x").message()), HasSubstr("the file has"));
}

// A changed byte may name another tensor or stay JSON, but whatever is read has to lie in the file:
// the reader must never crash (the sanitizer build runs this as well).
TEST_F(SafetensorsTest, EveryChangedHeaderByteIsRefusedOrReadSafely) {
  ASSERT_TRUE(WriteSafetensors(path_, {{"a", at::ones({2, 3})}, {"b", at::zeros({4})}}).ok());
  const std::string whole = ReadFile(path_).value();
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, whole.data(), 8);
  for (size_t at = 0; at < 8 + header_bytes; ++at) {
    for (const char mask : {'\x01', '\x10', '\x80'}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ mask);
      ASSERT_TRUE(WriteFileAtomically(path_, changed).ok());
      absl::StatusOr<NamedTensors> read = ReadSafetensors(path_);
      if (!read.ok()) continue;
      for (const auto& [name, tensor] : *read) {
        EXPECT_LE(tensor.nbytes(), whole.size() - 8 - header_bytes);
        EXPECT_TRUE(tensor.to(at::kDouble).sum().defined());
      }
    }
  }
}

TEST_F(SafetensorsTest, AHeaderLengthBeyondTheFileOrTheLimitIsRefused) {
  EXPECT_THAT(std::string(ReadBytes(std::string(8, '\xff')).message()),
              HasSubstr("at most 100000000"));
  const absl::Status status = ReadBytes(std::string("\x10\0\0\0\0\0\0\0{}", 10));
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("claims 16 bytes, the file has 2"));
}

TEST_F(SafetensorsTest, AHeaderThatIsNoJsonObjectIsRefused) {
  for (const char* header :
       {"", "{", "[]", "3", "{\"a\":1}", "{\"a\":{}}", "nonsense", "{\"\xff\":1}"}) {
    EXPECT_EQ(Read(header, 0).code(), absl::StatusCode::kInvalidArgument) << header;
  }
  EXPECT_FALSE(Read(std::string(100000, '['), 0).ok());
}

TEST_F(SafetensorsTest, ATensorWhoseSizeDisagreesWithItsShapeIsRefused) {
  EXPECT_TRUE(Read(Object({Entry("a", "F32", "[2]", "[0,8]")}), 8).ok());
  for (const std::string& entry :
       {Entry("a", "F32", "[3]", "[0,8]"), Entry("a", "F16", "[2]", "[0,8]"),
        Entry("a", "F32", "[2]", "[8,0]"), Entry("a", "F32", "[2]", "[0]"),
        Entry("a", "F32", "[-2]", "[0,8]"), Entry("a", "F32", "[2.0]", "[0,8]"),
        Entry("a", "F32", "2", "[0,8]"), Entry("a", "F32", "[2]", "[0,-8]"),
        Entry("a", "F32", "[4611686018427387906]", "[0,8]"),      // 4 n wraps to 8
        Entry("a", "F32", "[4294967296,4294967296,2]", "[0,0]"),  // wraps to 0
        Entry("a", "F32", "[18446744073709551615]", "[0,8]"),
        Entry("a", "F32", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]", "[0,8]")}) {
    const absl::Status status = Read(Object({entry}), 8);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << entry;
    EXPECT_THAT(std::string(status.message()), HasSubstr("tensor a"));
  }
}

TEST_F(SafetensorsTest, AnUnknownDtypeIsRefused) {
  for (const char* dtype : {"F8_E4M3", "f32", ""}) {
    const absl::Status status = Read(Object({Entry("a", dtype, "[2]", "[0,8]")}), 8);
    EXPECT_THAT(std::string(status.message()), HasSubstr("tensor a: dtype")) << dtype;
  }
}

TEST_F(SafetensorsTest, ABoolThatIsNeitherZeroNorOneIsRefused) {
  const std::string header = Object({Entry("a", "BOOL", "[1]", "[0,1]")});
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  EXPECT_TRUE(ReadBytes(file + header + '\x01').ok());
  EXPECT_FALSE(ReadBytes(file + header + '\x02').ok());
}

TEST_F(SafetensorsTest, OverlapGapAndDataBeyondTheEndAreRefused) {
  const std::string a = Entry("a", "F32", "[2]", "[0,8]");
  EXPECT_TRUE(Read(Object({a, Entry("b", "F32", "[1]", "[8,12]")}), 12).ok());
  EXPECT_THAT(std::string(Read(Object({a, Entry("b", "F32", "[1]", "[4,8]")}), 8).message()),
              HasSubstr("tensor b begins at byte 4 of the data and overlaps"));
  EXPECT_THAT(std::string(Read(Object({a, Entry("b", "F32", "[1]", "[12,16]")}), 16).message()),
              HasSubstr("tensor b begins at byte 12 of the data and leaves a gap"));
  EXPECT_EQ(Read(Object({a}), 7).code(), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(
      Read(Object({Entry("a", "F32", "[1]", "[9223372036854775800,9223372036854775804]")}), 8)
          .ok());
}

TEST_F(SafetensorsTest, ARepeatedNameIsRefused) {
  const std::string a = Entry("a", "F32", "[2]", "[0,8]");
  EXPECT_THAT(std::string(Read(Object({a, a}), 8).message()),
              HasSubstr("tensor a is listed twice"));
  EXPECT_THAT(
      std::string(WriteSafetensors(path_, {{"a", at::ones({2})}, {"a", at::ones({2})}}).message()),
      HasSubstr("tensor a is given twice"));
}

TEST_F(SafetensorsTest, ATensorThatTheFileDoesNotAlignIsRead) {
  const std::string header =
      Object({Entry("a", "U8", "[1]", "[0,1]"), Entry("b", "F64", "[2]", "[1,17]")});
  const uint64_t length = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  const double values[2] = {1.5, -2.0};
  file += header + '\x07' + std::string(reinterpret_cast<const char*>(values), sizeof(values));
  ASSERT_TRUE(ReadBytes(file).ok());
  EXPECT_TRUE(
      at::equal(ReadSafetensors(path_).value()[1].second, at::tensor({1.5, -2.0}, at::kDouble)));
}

TEST_F(SafetensorsTest, AMissingFileIsNotFound) {
  EXPECT_EQ(ReadSafetensors(path_).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadSafetensors(::testing::TempDir()).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace qc2c
