#include "experiments/train/documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "common/base/files.h"

namespace qc2c {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<DocumentPools> Read(const std::string& content) {
  const std::filesystem::path path =
      std::filesystem::path(testing::TempDir()) / "documents_test.jsonl";
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return ReadDocuments(path, {.model = 100, .sharer = 50});
}

TEST(DocumentsTest, PromptEndsBeforeTheFirstTokenWithAPositiveWeight) {
  const auto pools = Read(R"({"kind":"mc","segments":[[[1,2,3],0.0],[[4,5],1.0]]})");
  ASSERT_TRUE(pools.ok()) << pools.status();
  const Document& document = pools->at("mc").front();
  EXPECT_THAT(document.ids, ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(document.weights, ElementsAre(0, 0, 0, 1, 1));
  EXPECT_THAT(document.FusedPrompt(), ElementsAre(1, 2));
  EXPECT_THAT(document.Tail(), ElementsAre(3, 4, 5));
}

TEST(DocumentsTest, ASharerMayReadTokensOfItsOwn) {
  const auto pools = Read(
      R"({"kind":"mc","segments":[[[1,2,3],0],[[4],1]],"sharer":{"ids":[49,7,8],"tokens":[0,2]}})");
  ASSERT_TRUE(pools.ok()) << pools.status();
  const Document& document = pools->at("mc").front();
  EXPECT_THAT(document.sharer_ids, ElementsAre(49, 7, 8));
  EXPECT_THAT(document.sharer_tokens, ElementsAre(0, 2));
}

TEST(DocumentsTest, TheFirstTokenIsNeverATarget) {
  const auto pools = Read(R"({"kind":"drill","segments":[[[7,8],0.5]]})");
  ASSERT_TRUE(pools.ok()) << pools.status();
  EXPECT_THAT(pools->at("drill").front().weights, ElementsAre(0.0f, 0.5f));
}

TEST(DocumentsTest, FaultsNameTheLineAndTheField) {
  const std::string good = "{\"kind\":\"mc\",\"segments\":[[[1],0],[[2],1]]}\n";
  const std::vector<std::pair<std::string, std::string>> faults = {
      {"[1]", "expected a JSON object"},
      {"{\"segments\":[]}", "field kind"},
      {"{\"kind\":\"mc\"}", "field segments"},
      {R"({"kind":"mc","segments":[[[1,100],1]]})", "id: 100, expected 0 .. 99"},
      {R"({"kind":"mc","segments":[[[1,-1],1]]})", "id: -1"},
      {R"({"kind":"mc","segments":[[[1,2],-0.5]]})", "weight -0.5"},
      {R"({"kind":"mc","segments":[[[1,2]]]})", "[[ids...], weight]"},
      {R"({"kind":"mc","segments":[[[1,2],0]]})", "no token has a positive weight"},
      {R"({"kind":"mc","segments":[[[1,2],0],[[3],1]],"sharer":{"ids":[50],"tokens":[0]}})",
       "sharer.ids: 50, expected 0 .. 49"},
      {R"({"kind":"mc","segments":[[[1,2],0],[[3],1]],"sharer":{"ids":[5],"tokens":[1]}})",
       "sharer.tokens: 1, expected 0 .. 0"},
      {R"({"kind":"mc","segments":[[[1,2],0],[[3],1]],"sharer":{"ids":[5],"tokens":[0,0]}})",
       "sharer.tokens: 2 entries, expected 1"},
      {R"({"kind":"mc","segments":[[[1,2],0],[[3],1]],"sharer":[5]})", "expected {ids, tokens}"},
  };
  for (const auto& [line, message] : faults) {
    const auto pools = Read(good + line);
    ASSERT_FALSE(pools.ok()) << line;
    EXPECT_THAT(std::string(pools.status().message()), HasSubstr("line 2"));
    EXPECT_THAT(std::string(pools.status().message()), HasSubstr(message));
  }
}

TEST(DocumentsTest, AMissingFileIsNamed) {
  const auto pools = ReadDocuments("/no/such/file.jsonl", {100});
  EXPECT_EQ(pools.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(pools.status().message()), HasSubstr("/no/such/file.jsonl"));
}

}  // namespace
}  // namespace qc2c
