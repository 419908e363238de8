#include "receiver/model_pair.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/hash.h"

namespace qc2c {
namespace {

using testing::AllOf;
using testing::HasSubstr;

v1::ModelCard Card(const std::string& name, uint64_t fingerprint, uint64_t tokenizer_hash) {
  v1::ModelCard card;
  card.set_model(name);
  card.set_model_fingerprint(fingerprint);
  card.set_tokenizer_hash(tokenizer_hash);
  return card;
}

TEST(CheckTokenizersTest, EqualHashesPassAndOthersAreNamed) {
  EXPECT_TRUE(CheckTokenizers(Card("r", 1, 5), Card("s", 2, 5)).ok());
  const absl::Status status = CheckTokenizers(Card("r", 1, 5), Card("s", 2, 6));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("tokenizer_hash"), HasSubstr("'s' has 0000000000000006"),
                    HasSubstr("expected 0000000000000005"), HasSubstr("'r'")));
}

class CheckFuserPairTest : public testing::Test {
 protected:
  CheckFuserPairTest() : folder_(std::filesystem::path(testing::TempDir()) / "fuser_pair") {
    std::filesystem::create_directories(folder_);
  }
  ~CheckFuserPairTest() override { std::filesystem::remove_all(folder_); }

  absl::Status CheckWith(const std::string& config) {
    EXPECT_TRUE(WriteFileAtomically(folder_ / "config.json", config).ok());
    return Check();
  }
  absl::Status Check() { return CheckFuserPair(folder_, Card("r", 0xa1, 5), Card("s", 0xb2, 5)); }

  const std::filesystem::path folder_;
};

TEST_F(CheckFuserPairTest, AFolderThatDoesNotSayForWhomItIsPasses) {
  EXPECT_TRUE(Check().ok());
  EXPECT_TRUE(CheckWith("{}").ok());
  EXPECT_TRUE(CheckWith(R"({"model": {"base_model": "Qwen/Qwen3-0.6B"}})").ok());
}

TEST_F(CheckFuserPairTest, ThePairsOwnFuserPassesAndAnothersIsRefusedByField) {
  const auto config = [](const char* base, const char* teacher) {
    return absl::StrCat(R"({"model": {"base_fingerprint": ")", base,
                        R"(", "teacher_fingerprint": ")", teacher, R"("}})");
  };
  EXPECT_TRUE(CheckWith(config("00000000000000a1", "00000000000000b2")).ok());
  const absl::Status base = CheckWith(config("00000000000000a2", "00000000000000b2"));
  EXPECT_EQ(base.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(base.message()),
              AllOf(HasSubstr("model.base_fingerprint is \"00000000000000a2\""),
                    HasSubstr("'r' is 00000000000000a1")));
  const absl::Status teacher = CheckWith(config("00000000000000a1", "00000000000000b3"));
  EXPECT_THAT(std::string(teacher.message()),
              AllOf(HasSubstr("model.teacher_fingerprint is \"00000000000000b3\""),
                    HasSubstr("'s' is 00000000000000b2")));
}

TEST_F(CheckFuserPairTest, AMalformedFileIsRefused) {
  for (const char* config : {"", "{", "[]", "7", R"({"model": 1})"}) {
    EXPECT_EQ(CheckWith(config).code(), absl::StatusCode::kDataLoss) << config;
  }
  EXPECT_EQ(CheckWith(R"({"model": {"base_fingerprint": 161}})").code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace qc2c
