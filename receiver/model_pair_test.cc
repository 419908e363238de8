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

class ChooseAlignmentTest : public CheckFuserPairTest {
 protected:
  absl::StatusOr<AlignmentStrategy> Choose(const std::string& flag, uint64_t sharer_tokenizer) {
    return ChooseAlignment(flag, folder_, Card("r", 0xa1, 5), Card("s", 0xb2, sharer_tokenizer));
  }
  // What "auto" gives for equal tokenizers beside a fuser of this config.json.
  absl::StatusOr<AlignmentStrategy> ChooseWith(const std::string& config) {
    EXPECT_TRUE(WriteFileAtomically(folder_ / "config.json", config).ok());
    return Choose("auto", 5);
  }
};

TEST_F(ChooseAlignmentTest, EqualTokenizersReadTheSameIdsAndOthersArePairedBySpan) {
  EXPECT_EQ(Choose("auto", 5).value(), AlignmentStrategy::kSameIds);
  EXPECT_EQ(Choose("auto", 6).value(), AlignmentStrategy::kSpan);
  EXPECT_EQ(ChooseAlignment("auto", "", Card("r", 1, 5), Card("s", 2, 6)).value(),
            AlignmentStrategy::kSpan);
}

TEST_F(ChooseAlignmentTest, TheFuserSaysWhatItWasTrainedWithAndTheFlagOverrulesIt) {
  EXPECT_EQ(ChooseWith(R"({"model": {"alignment": "span"}})").value(), AlignmentStrategy::kSpan);
  EXPECT_EQ(Choose("same_ids", 6).value(), AlignmentStrategy::kSameIds);
  const char* const longest =
      R"({"model": {"is_do_alignment": true, "alignment_strategy": "longest"}})";
  EXPECT_EQ(ChooseWith(longest).value(), AlignmentStrategy::kLongest);
  // The published pairs of two tokenizers that the reference runs without its aligner.
  ChooseWith(R"({"model": {"is_do_alignment": false, "alignment_strategy": "first"}})").value();
  EXPECT_EQ(Choose("auto", 6).value(), AlignmentStrategy::kSameIds);
}

TEST_F(ChooseAlignmentTest, UnknownStrategiesAreNamed) {
  EXPECT_EQ(Choose("prefix", 5).status().code(), absl::StatusCode::kInvalidArgument);
  const absl::Status named = ChooseWith(R"({"model": {"alignment": "prefix"}})").status();
  EXPECT_EQ(named.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(named.message()), AllOf(HasSubstr("config.json"), HasSubstr("'prefix'")));
  for (const char* config :
       {R"({"model": {"alignment": 1}})", R"({"model": {"is_do_alignment": "yes"}})",
        R"({"model": {"is_do_alignment": true}})"}) {
    EXPECT_EQ(ChooseWith(config).status().code(), absl::StatusCode::kDataLoss) << config;
  }
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
