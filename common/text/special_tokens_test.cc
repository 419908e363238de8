#include "common/text/special_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "common/base/files.h"
#include "common/text/small_bpe.h"

namespace qc2c {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

TEST(SpecialTokensTest, TextAndObjectsAreReadAndNullIsNone) {
  const auto names = ReadSpecialTokens({.tokenizer_config_json = R"({
      "bos_token": null, "eos_token": {"content": "</s>", "lstrip": false},
      "pad_token": "<pad>", "additional_special_tokens": ["<a>", {"content": "<b>"}],
      "model_max_length": 7})"});
  ASSERT_TRUE(names.ok()) << names.status();
  EXPECT_THAT(names->named, ElementsAre(Pair("eos_token", "</s>"), Pair("pad_token", "<pad>")));
  EXPECT_THAT(names->others, ElementsAre("<a>", "<b>"));
}

// transformers 5.17, tokenization_utils_base.py, _from_pretrained.
TEST(SpecialTokensTest, MapGoesBeforeAConfigThatListsNoAddedTokens) {
  TextFiles files{.tokenizer_config_json = R"({"bos_token": "<s>", "eos_token": "</s>"})",
                  .special_tokens_map_json = R"({"eos_token": "<e>", "unk_token": "<unk>"})"};
  const auto merged = ReadSpecialTokens(files);
  ASSERT_TRUE(merged.ok()) << merged.status();
  EXPECT_THAT(merged->named, ElementsAre(Pair("bos_token", "<s>"), Pair("eos_token", "<e>"),
                                         Pair("unk_token", "<unk>")));
  files.tokenizer_config_json = R"({"eos_token": "</s>", "added_tokens_decoder": {}})";
  EXPECT_THAT(ReadSpecialTokens(files)->named, ElementsAre(Pair("eos_token", "</s>")));
}

TEST(SpecialTokensTest, NoFilesAreNoTokens) {
  const auto names = ReadSpecialTokens({});
  ASSERT_TRUE(names.ok()) << names.status();
  EXPECT_THAT(names->named, IsEmpty());
}

TEST(SpecialTokensTest, TokenThatIsNoTextIsRefusedByFileAndField) {
  const auto message = [](const TextFiles& files) {
    return std::string(ReadSpecialTokens(files).status().message());
  };
  EXPECT_THAT(message({.origin = "m", .tokenizer_config_json = R"({"eos_token": [2]})"}),
              HasSubstr("m/tokenizer_config.json: `eos_token` is array, expected a string"));
  EXPECT_THAT(message({.origin = "m", .special_tokens_map_json = R"({"pad_token": {"id": 2}})"}),
              HasSubstr("m/special_tokens_map.json: `pad_token` is null, expected a string"));
  EXPECT_THAT(message({.tokenizer_config_json = R"({"additional_special_tokens": [3]})"}),
              HasSubstr("`additional_special_tokens[]` is number"));
  EXPECT_THAT(message({.origin = "m", .special_tokens_map_json = "{"}),
              HasSubstr("m/special_tokens_map.json: expected a JSON object"));
}

TEST(SpecialTokensTest, IdsAreThoseOfTheVocabulary) {
  const auto tokenizer =
      Tokenizer::FromJson(SmallBpe({"<unk>", "<s>", "</s>", "<a>"}, {}, {"<s>", "<a>"}).dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const SpecialIds ids = SpecialIds::Of({.named = {{"bos_token", "<s>"},
                                                   {"eos_token", "</s>"},
                                                   {"pad_token", "</s>"},
                                                   {"unk_token", "<absent>"}},
                                         .others = {"<a>", "<b>"}},
                                        *tokenizer);
  EXPECT_EQ(ids.bos, 1);
  EXPECT_EQ(ids.eos, 2);
  EXPECT_EQ(ids.pad, 2);
  EXPECT_EQ(ids.unk, std::nullopt);
  EXPECT_THAT(ids.all, ElementsAre(1, 2, 3));
}

TEST(TextFilesTest, LoadsWhatExistsAndNamesPaths) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "text_files";
  ASSERT_TRUE(WriteFileAtomically(folder / "tokenizer.json", "{}").ok());
  ASSERT_TRUE(WriteFileAtomically(folder / "chat_template.jinja", "x").ok());
  const auto files = TextFiles::Load(folder);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->tokenizer_json, "{}");
  EXPECT_EQ(files->chat_template_jinja, "x");
  EXPECT_EQ(files->tokenizer_config_json, "");
  EXPECT_EQ(files->PathOf("a"), (folder / "a").string());
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace qc2c
