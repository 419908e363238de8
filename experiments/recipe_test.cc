#include "experiments/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "experiments/fake_receiver.h"
#include "experiments/project_files.h"

namespace qc2c {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RecipeTest : public testing::Test {
 protected:
  ~RecipeTest() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<Recipe> Load(const std::string& yaml) {
    EXPECT_TRUE(WriteFileAtomically(folder_ / "r.yaml", yaml).ok());
    return Recipe::Load(folder_ / "r.yaml");
  }
  std::string Error(const std::string& yaml) { return std::string(Load(yaml).status().message()); }

  const std::filesystem::path folder_ = FreshFolder();
};

std::string WithDataset(const std::string& fields) {
  return absl::StrCat("name: t\ndatasets:\n  - {name: d, questions: q.jsonl, format: f.yaml, ",
                      fields, "}\n");
}

TEST_F(RecipeTest, TheDemoHasThePointsThatAreMeasured) {
  Recipe recipe = *Recipe::Load(*ProjectFolder() / "experiments" / "recipes" / "demo.yaml");
  ASSERT_TRUE(recipe.LoadDatasets().ok());
  ASSERT_EQ(recipe.datasets.size(), 2);
  EXPECT_GE(recipe.datasets[0].questions.size(), 1088);
  EXPECT_GE(recipe.datasets[1].questions.size(), 500);
  EXPECT_TRUE(recipe.datasets[1].questions[0].is_open());
  std::vector<std::string> names;
  for (const Point& point : recipe.datasets[0].points) names.push_back(point.name);
  EXPECT_THAT(names, testing::IsSupersetOf(
                         {"receiver", "sharer", "text", "fp32", "bf16", "int8", "int4",
                          "int8_back_p050", "int8_back_p025", "int8_back_p010", "int8_front_p050",
                          "int8_value_norm_p050", "int8_value_norm_p025", "int8_value_norm_p010",
                          "int4_value_norm_p025", "bf16_wrong_question", "bf16_zero_cache"}));
  EXPECT_EQ(recipe.FindPair("")->name, "qwen");
  EXPECT_EQ(recipe.FindPair("llama")->sharers.at(0).model.filename(), "sharer-llama");
  EXPECT_TRUE(absl::IsNotFound(recipe.FindPair("gemma").status()));
}

TEST_F(RecipeTest, PathsAreRelativeToTheFile) {
  const Recipe recipe = *Load(WithDataset("points: [receiver]"));
  EXPECT_EQ(recipe.datasets[0].questions_path, folder_ / "q.jsonl");
}

TEST_F(RecipeTest, APointMayNameAnyCodec) {
  const Recipe recipe =
      *Load(WithDataset("points: [{name: int8_per_head, codec: \"int8,axis=per_head\"}]"));
  EXPECT_EQ(recipe.datasets[0].points[0].name, "int8_per_head");
  EXPECT_EQ(recipe.datasets[0].points[0].codec->axis, Axis::kPerHead);
}

TEST_F(RecipeTest, AScheduleIsTheListsOfTheCodecsText) {
  const absl::StatusOr<Recipe> recipe = Load(WithDataset(
      "points: [{name: m, codec: int4, schedule: [{layers: 0-7, scheme: int8}, "
      "{layers: 9, scheme: bf16, half: keys}, {layers: 8-9, scheme: none, half: values}]}]"));
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  EXPECT_EQ(recipe->datasets[0].points[0].codec->ToString(),
            "int4,keys=0-7:int8+9:bf16,values=0-7:int8+8-9:none");
  EXPECT_THAT(Error(WithDataset("points: [{name: m, codec: int4, schedule: [{layers: 0-7, "
                                "scheme: int8, half: both halves}]}]")),
              HasSubstr("schedule[0]: half: \"both halves\""));
}

TEST_F(RecipeTest, EveryRecipeOfCodecsLoads) {
  for (const char* name : {"schemes", "selections", "mixed", "budgets", "budgets_weighted"}) {
    absl::StatusOr<Recipe> recipe = Recipe::Load(*ProjectFolder() / "experiments" / "recipes" /
                                                 absl::StrCat("codec_", name, ".yaml"));
    ASSERT_TRUE(recipe.ok()) << recipe.status();
    EXPECT_TRUE(recipe->LoadDatasets().ok()) << name;
  }
}

TEST_F(RecipeTest, ANamedCodecMayBeAPrefixsAndAPairMayHaveNoFuser) {
  const Recipe recipe = *Load(
      "name: t\npairs: [{name: p, receiver: r, sharer: r}]\ndatasets:\n"
      "  - {name: d, questions: q.jsonl, format: f.yaml, "
      "points: [{name: x, codec: int8, mode: prefix}]}\n");
  EXPECT_EQ(recipe.datasets[0].points[0].mode, v1::MODE_PREFIX);
  EXPECT_TRUE(recipe.pairs[0].sharers.at(0).fuser.empty());
}

TEST_F(RecipeTest, APairMayHaveSeveralSharersAndAPointNamesThoseThatTakePart) {
  const std::string datasets =
      "\ndatasets:\n  - {name: d, questions: q.jsonl, format: f.yaml, points: [bf16, "
      "{name: second, codec: bf16, sharers: [1]}, "
      "{name: summed, codec: bf16, sharers: [0, 1], combine: parallel}]}\n";
  const auto pairs = [](const std::string& second, const std::string& rest) {
    return absl::StrCat("name: t\npairs: [{name: p, receiver: r, sharers: [{sharer: a, fuser: A}, ",
                        second, "]", rest, "}]");
  };
  const auto recipe = Load(pairs("{sharer: b, fuser: B}", ", combine: sequential") + datasets);
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  const Pair& pair = recipe->pairs.at(0);
  ASSERT_EQ(pair.sharers.size(), 2);
  EXPECT_EQ(pair.sharers[1].model.filename(), "b");
  EXPECT_EQ(pair.sharers[1].fuser.filename(), "B");
  EXPECT_EQ(pair.combine, "sequential");
  const std::vector<Point>& points = recipe->datasets[0].points;
  EXPECT_THAT(points[0].sharers, IsEmpty());
  EXPECT_THAT(points[1].sharers, ElementsAre(1));
  EXPECT_THAT(points[2].sharers, ElementsAre(0, 1));
  EXPECT_EQ(points[2].combine, v1::COMBINE_PARALLEL);
  EXPECT_THAT(recipe->Resolved(), AllOf(HasSubstr("combine: parallel"), HasSubstr("[0, 1]")));

  EXPECT_THAT(Error(pairs("{sharer: b}", "") + datasets), HasSubstr("sharers[1]: fuser"));
  EXPECT_THAT(Error(pairs("{fuser: B}", "") + datasets), HasSubstr("\"sharer\" is missing"));
  EXPECT_THAT(Error(pairs("{sharer: b, fuser: B}", ", combine: both") + datasets),
              HasSubstr("combine is \"both\""));
  EXPECT_THAT(Error(WithDataset("points: [{name: x, codec: int8, sharers: [1, 0]}]")),
              HasSubstr("points[0]: sharers: expected ascending"));
}

TEST_F(RecipeTest, ErrorsNameTheField) {
  EXPECT_THAT(Error(WithDataset("points: [{name: x, codec: int8, mode: text}]")),
              HasSubstr("\"mode\" is \"text\"; expected fused or prefix"));
  EXPECT_THAT(Error("name: t"), HasSubstr("\"datasets\" is missing"));
  EXPECT_THAT(Error("name: t\nbatch: 7\ndatasets: [{}]"), HasSubstr("unknown field \"batch\""));
  EXPECT_THAT(Error(WithDataset("points: [receiver], metod: logits")),
              HasSubstr("datasets[0]: unknown field \"metod\""));
  EXPECT_THAT(Error(WithDataset("points: [receiver], method: guess")), HasSubstr("\"guess\""));
  EXPECT_THAT(Error(WithDataset("points: [receiver], max_new_tokens: -1")),
              HasSubstr("\"max_new_tokens\" is -1"));
  EXPECT_THAT(Error(WithDataset("points: [receiver], max_new_tokens: 4097")),
              HasSubstr("from 1 to 4096"));
  EXPECT_THAT(Error(WithDataset("points: [int8, int9]")), HasSubstr("points[1]: point \"int9\""));
  EXPECT_THAT(Error(WithDataset("points: [int8, int8]")), HasSubstr("\"int8\" comes twice"));
  EXPECT_THAT(Error(WithDataset("points: []")), HasSubstr("at least one element"));
  EXPECT_THAT(Error(WithDataset("points: [{name: x, codec: \"int8,keep=1\"}]")),
              HasSubstr("points[0]: field \"codec\""));
  EXPECT_THAT(Error("name: t\nin_flight: 0\ndatasets: [{}]"), HasSubstr("\"in_flight\" is 0"));
  EXPECT_THAT(Error("[1, 2]"), HasSubstr("expected a map"));
  EXPECT_THAT(Error("name: {"), HasSubstr("not YAML"));
}

TEST_F(RecipeTest, ResolvedTextChangesWithTheQuestionsAndThePromptButNotWithThePlace) {
  const auto resolved = [&](const std::string& question, const std::string& user) {
    EXPECT_TRUE(
        WriteFileAtomically(folder_ / "q.jsonl", absl::StrCat("{\"id\": \"a\", \"question\": \"",
                                                              question, "\", \"answer\": \"x\"}\n"))
            .ok());
    EXPECT_TRUE(
        WriteFileAtomically(folder_ / "f.yaml", absl::StrCat("user: \"", user, "\"\n")).ok());
    Recipe recipe = *Load(WithDataset("points: [receiver]"));
    EXPECT_TRUE(recipe.LoadDatasets().ok());
    return recipe.Resolved();
  };
  const std::string first = resolved("Who?", "{question}");
  EXPECT_EQ(first, resolved("Who?", "{question}"));
  EXPECT_NE(first, resolved("Who!", "{question}"));
  EXPECT_NE(first, resolved("Who?", "Q: {question}"));
  EXPECT_THAT(first, testing::Not(HasSubstr(folder_.string())));
}

TEST_F(RecipeTest, PointsThatTheDataCannotServeAreRefused) {
  ASSERT_TRUE(
      WriteFileAtomically(folder_ / "q.jsonl", R"({"id": "a", "question": "?", "answer": "x"})")
          .ok());
  ASSERT_TRUE(WriteFileAtomically(folder_ / "f.yaml", "user: \"{question}\"").ok());
  for (const char* fields :
       {"points: [text]", "points: [bf16_wrong_question]", "points: [receiver], method: logits",
        "points: [prefix_int8]", "points: [receiver_context]"}) {
    Recipe recipe = *Load(WithDataset(fields));
    EXPECT_TRUE(absl::IsInvalidArgument(recipe.LoadDatasets())) << fields;
  }
}

TEST_F(RecipeTest, AQuestionWithoutTheFactThatThePromptNeedsIsRefusedById) {
  ASSERT_TRUE(
      WriteFileAtomically(folder_ / "q.jsonl", R"({"id": "a", "question": "?", "answer": "x"})")
          .ok());
  ASSERT_TRUE(
      WriteFileAtomically(folder_ / "f.yaml", "user: \"{question}\"\nsharer_context: \"{fact}\"")
          .ok());
  Recipe recipe = *Load(WithDataset("points: [int8]"));
  EXPECT_THAT(std::string(recipe.LoadDatasets().message()),
              HasSubstr("question \"a\" has no field \"fact\""));
}

}  // namespace
}  // namespace qc2c
