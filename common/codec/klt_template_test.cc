#include "common/codec/klt_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace qc2c {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Prompt {
  std::vector<int32_t> ids;
  std::vector<uint32_t> positions;
};

KltTemplate TemplateOf(const std::vector<Prompt>& prompts) {
  std::vector<KltPrompt> views;
  for (const Prompt& prompt : prompts) views.push_back({prompt.ids, prompt.positions});
  return KltTemplate::Of(views).value();
}

std::string Refusal(const KltTemplate& common, const Prompt& prompt) {
  return std::string(common.Match({prompt.ids, prompt.positions}).message());
}

TEST(KltTemplateTest, HasWhatAllPromptsBeginAndEndWith) {
  const KltTemplate common = TemplateOf({{{1, 2, 3, 9, 9, 4, 5}, {0, 1, 2, 3, 4, 5, 6}},
                                         {{1, 2, 3, 8, 4, 5}, {0, 1, 2, 3, 4, 5}},
                                         {{1, 2, 7, 3, 4, 5}, {0, 1, 2, 3, 4, 5}}});
  EXPECT_THAT(common.prefix_ids, ElementsAre(1, 2));
  EXPECT_THAT(common.prefix_positions, ElementsAre(0, 1));
  EXPECT_THAT(common.tail_ids, ElementsAre(4, 5));
  EXPECT_THAT(common.tail_distances, ElementsAre(1, 0));
  EXPECT_TRUE(common.Validate().ok());
}

TEST(KltTemplateTest, APrefixEndsWhereAnUnwantedIdDiffersBecauseLaterTokensDependOnIt) {
  const KltTemplate common = TemplateOf({{{1, 2, 3, 9}, {0, 2, 3}}, {{1, 7, 3, 8}, {0, 2, 3}}});
  EXPECT_THAT(common.prefix_ids, ElementsAre(1));
  EXPECT_THAT(common.prefix_positions, ElementsAre(0));
}

TEST(KltTemplateTest, APrefixBeginsAtItsPositionInEveryPrompt) {
  const KltTemplate common = TemplateOf({{{1, 2, 3, 4}, {2, 3}}, {{1, 2, 2, 3, 4}, {3, 4}}});
  EXPECT_THAT(common.prefix_ids, IsEmpty());
  EXPECT_THAT(common.tail_ids, ElementsAre(3, 4));
}

TEST(KltTemplateTest, PrefixAndTailDoNotOverlapInTheShortestPrompt) {
  const KltTemplate common = TemplateOf({{{1, 1, 1}, {0, 1, 2}}, {{1, 1, 1, 1}, {0, 1, 2, 3}}});
  EXPECT_EQ(common.num_prefix(), 3);
  EXPECT_EQ(common.num_tail(), 0);
}

TEST(KltTemplateTest, NoPromptAndAnEmptyOneAreRefused) {
  EXPECT_FALSE(KltTemplate::Of({}).ok());
  EXPECT_FALSE(KltTemplate::Of({KltPrompt{}}).ok());
}

TEST(KltTemplateTest, WhatDoesNotFitIsRefusedByName) {
  const KltTemplate common =
      TemplateOf({{{1, 2, 9, 4, 5}, {0, 1, 2, 3, 4}}, {{1, 2, 8, 4, 5}, {0, 1, 2, 3, 4}}});
  EXPECT_EQ(Refusal(common, {{1, 2, 3, 3, 4, 5}, {0, 1, 2, 3, 4, 5}}), "");
  EXPECT_EQ(Refusal(common, {{1, 2, 4, 5}, {0, 1, 2, 3}}), "");  // no middle
  EXPECT_THAT(Refusal(common, {{1, 2, 5}, {0, 1, 2}}), HasSubstr("number of its tokens is 3"));
  EXPECT_THAT(Refusal(common, {{1, 3, 9, 4, 5}, {0, 1, 2, 3, 4}}),
              HasSubstr("id 1 is 3: expected 2"));
  EXPECT_THAT(Refusal(common, {{1, 2, 9, 4, 5}, {0, 2, 3, 4}}),
              HasSubstr("position of wanted token 1 is 2"));
  EXPECT_THAT(Refusal(common, {{1, 2, 9, 4, 6}, {0, 1, 2, 3, 4}}),
              HasSubstr("id of the wanted token 1 from the end is 6: expected 5"));
  EXPECT_THAT(
      Refusal(common, {{1, 2, 9, 4, 7, 5}, {0, 1, 2, 3, 5}}),
      HasSubstr("distance to the last of the wanted token 2 from the end is 2: expected 1"));
}

}  // namespace
}  // namespace qc2c
