#include "common/fuser/published_pair.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/files.h"

namespace qc2c {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class PublishedPairTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(::testing::TempDir()) / "qc2c_pair" / info->name();
    ASSERT_TRUE(WriteFileAtomically(folder_ / "final/projector_config.json", "{}").ok());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<PublishedPair> Read(const std::string& config) {
    EXPECT_TRUE(WriteFileAtomically(folder_ / "config.json", config).ok());
    return ReadPublishedPair(folder_);
  }

  std::filesystem::path folder_;
};

TEST_F(PublishedPairTest, TheTrainingRecipeNamesModelsAndAlignment) {
  const auto pair = Read(R"({"model": {"base_model": "a/receiver", "teacher_model": "b/sharer",
      "is_do_alignment": true, "alignment_strategy": "longest", "mapping": "last_aligned"}})");
  ASSERT_TRUE(pair.ok()) << pair.status();
  EXPECT_EQ(pair->base_model, "a/receiver");
  EXPECT_THAT(pair->teacher_models, ElementsAre("b/sharer"));
  EXPECT_EQ(pair->alignment, PublishedPair::Alignment::kTokens);
  EXPECT_EQ(pair->alignment_strategy, "longest");
  EXPECT_EQ(ReadPublishedPair(folder_ / "final")->base_model, "a/receiver");
}

TEST_F(PublishedPairTest, WhatIsAbsentIsEmptyAndNotAligned) {
  EXPECT_THAT(ReadPublishedPair(folder_)->teacher_models, IsEmpty());
  const auto pair = Read(R"({"model": {"teacher_model": {"one": "x", "two": "y"}}})");
  ASSERT_TRUE(pair.ok()) << pair.status();
  EXPECT_THAT(pair->teacher_models, ElementsAre("x", "y"));
  EXPECT_EQ(pair->base_model, "");
  EXPECT_EQ(pair->alignment, PublishedPair::Alignment::kNone);
}

TEST_F(PublishedPairTest, WrongFieldsAreRefusedByName) {
  for (const auto& [config, expected] : std::vector<std::pair<std::string, std::string>>{
           {R"({"model": {"base_model": 1}})", "base_model is 1"},
           {R"({"model": {"teacher_model": []}})", "teacher_model is []"},
           {R"({"model": {"is_do_alignment": "yes"}})", "is_do_alignment is \"yes\""},
           {R"({"model": {"alignment_strategy": "prefix"}})",
            "alignment_strategy is \"prefix\": expected first, longest, span or same_ids"},
           {R"({"model": 3})", "model is 3"},
           {"[", "not valid JSON"}}) {
    const absl::Status status = Read(config).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << config;
    EXPECT_THAT(std::string(status.message()), HasSubstr(expected));
  }
}

}  // namespace
}  // namespace qc2c
