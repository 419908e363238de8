#include "experiments/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "experiments/fake_receiver.h"
#include "experiments/prediction.h"
#include "experiments/recipe_run.h"
#include "experiments/report.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;

constexpr char kFormat[] = "user: \"{question}\\n{choices}\"\nreply_prefix: \"Answer:\"\n";
constexpr char kRecipe[] = R"(
name: test
in_flight: 4
datasets:
  - name: letters
    questions: questions.jsonl
    format: format.yaml
    points: [receiver, bf16, int8]
)";

// Ten questions whose answers are A B A B ...
class RunnerTest : public testing::Test {
 protected:
  RunnerTest() {
    std::string questions;
    for (int i = 0; i < 10; ++i) {
      absl::StrAppend(&questions, "{\"id\": \"q", i,
                      "\", \"question\": \"?\", \"choices\": {\"A\": \"x\", \"B\": \"y\"}, ",
                      "\"answer\": \"", i % 2 == 0 ? "A" : "B", "\"}\n");
    }
    Write("questions.jsonl", questions);
    Write("format.yaml", kFormat);
    Write("recipe.yaml", kRecipe);
  }
  ~RunnerTest() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(folder_ / name, text).ok());
  }

  void Serve(std::function<v1::AnswerReply(const v1::AnswerRequest&)> answer) {
    server_ = std::make_unique<FakeReceiver>(folder_, std::move(answer));
  }

  // Alone the receiver always says A; bf16 is right but for q0, int8 but for q0 and q1.
  static v1::AnswerReply Answer(const v1::AnswerRequest& request) {
    const std::string& id = request.question_id();
    const bool is_odd = (id[1] - '0') % 2 == 1;
    if (request.mode() == v1::MODE_RECEIVER) return TextReply(request, " A");
    const bool is_int8 = request.codec().scheme() == v1::SCHEME_INT8;
    const bool is_right = id != "q0" && !(is_int8 && id == "q1");
    return TextReply(request, is_odd == is_right ? " B" : " A");
  }

  absl::StatusOr<RunOutcome> RunOnce() {
    absl::StatusOr<Recipe> recipe = Recipe::Load(folder_ / "recipe.yaml");
    if (!recipe.ok()) return recipe.status();
    if (absl::Status status = recipe->LoadDatasets(); !status.ok()) return status;
    const auto client = std::move(*ReceiverClient::Create(server_->address()));
    const absl::StatusOr<RunFolder> folder = RunFolder::Open(folder_ / "run", recipe->Resolved());
    if (!folder.ok()) return folder.status();
    RecipeRun run{.command_line = "test"};
    run.ask.in_flight = recipe->in_flight;
    run.ask.stopped = stopped_;
    return RunRecipeInFolder(*recipe, *client, *folder, run);
  }

  std::filesystem::path PredictionsOf(const std::string& point) const {
    return folder_ / "run" / "results" / "predictions" / (point + ".letters.jsonl");
  }

  const std::filesystem::path folder_ = FreshFolder();
  std::unique_ptr<FakeReceiver> server_;
  std::function<bool()> stopped_ = [] { return false; };
};

TEST_F(RunnerTest, WritesPointsWithCountsThatFollowFromTheAnswers) {
  Serve(Answer);
  const absl::StatusOr<RunOutcome> outcome = RunOnce();
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->num_incomplete, 0);
  EXPECT_EQ(outcome->session.questions, 30);
  EXPECT_EQ(outcome->session.correct, 5 + 9 + 8);
  EXPECT_EQ(outcome->session.cache_bytes.tx(), 20 * 100);
  const auto points = *ReadResults(folder_ / "run", "points");
  ASSERT_EQ(points.size(), 3);
  EXPECT_EQ(points[0]["correct"], 5);
  EXPECT_EQ(points[2]["point"], "int8");
  EXPECT_EQ(points[2]["codec"]["scheme"], "int8");
  EXPECT_EQ(points[2]["n"], 10);
  EXPECT_EQ(points[2]["accuracy"], 0.8);
  EXPECT_EQ(points[2]["bytes_tx"]["mean"], 100.0);
  EXPECT_EQ(points[2]["latency_ms"]["p50"], 2.0);
  EXPECT_EQ(points[2]["versus"]["point"], "bf16");
  EXPECT_EQ(points[2]["versus"]["won"], 0);
  EXPECT_EQ(points[2]["versus"]["lost"], 1);
  EXPECT_FALSE(points[1].contains("versus"));  // bf16 is not compared with itself
}

TEST_F(RunnerTest, ReportsTheScoresOfEachPointToTheReceiver) {
  Serve(Answer);
  ASSERT_TRUE(RunOnce().ok());
  const std::vector<v1::ScoreReport> reports = server_->reports();
  ASSERT_EQ(reports.size(), 3);
  EXPECT_EQ(reports[1].totals(0).dataset(), "letters");
  EXPECT_EQ(reports[1].totals(0).mode(), "fused");
  EXPECT_EQ(reports[1].totals(0).questions(), 10);
  EXPECT_EQ(reports[1].totals(0).correct(), 9);
}

TEST_F(RunnerTest, AStoppedRunContinuesAndAnswersNothingTwice) {
  std::atomic<int> num_answers = 0;
  Serve([&](const v1::AnswerRequest& request) {
    ++num_answers;
    return Answer(request);
  });
  stopped_ = [&] { return num_answers >= 14; };
  EXPECT_TRUE(absl::IsCancelled(RunOnce().status()));
  stopped_ = [] { return false; };
  ASSERT_TRUE(RunOnce().ok());
  for (const char* point : {"receiver", "bf16", "int8"}) {
    const auto predictions = LoadPredictions(PredictionsOf(point));
    ASSERT_TRUE(predictions.ok()) << predictions.status();  // an id that comes twice is an error
    EXPECT_EQ(predictions->size(), 10) << point;
  }
  const int before = num_answers;
  ASSERT_TRUE(RunOnce().ok());
  EXPECT_EQ(num_answers, before);  // nothing is left to ask
}

TEST_F(RunnerTest, ALineThatAKillCutIsDroppedAndItsQuestionAskedAgain) {
  Serve(Answer);
  ASSERT_TRUE(RunOnce().ok());
  std::filesystem::resize_file(PredictionsOf("int8"),
                               std::filesystem::file_size(PredictionsOf("int8")) - 20);
  const absl::StatusOr<RunOutcome> outcome = RunOnce();
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->session.questions, 1);
  EXPECT_EQ(LoadPredictions(PredictionsOf("int8"))->size(), 10);
}

TEST_F(RunnerTest, AChangedRecipeIsRefusedAndTheDifferenceNamed) {
  Serve(Answer);
  ASSERT_TRUE(RunOnce().ok());
  std::string changed = kRecipe;
  changed.replace(changed.find("in_flight: 4"), 12, "in_flight: 8");
  Write("recipe.yaml", changed);
  const absl::Status status = RunOnce().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("was \"in_flight: 4\", is now \"in_flight: 8\""));
}

TEST_F(RunnerTest, APointWithAFailedQuestionIsListedAndNotInTheTable) {
  Serve([](const v1::AnswerRequest& request) {
    v1::AnswerReply reply = Answer(request);
    if (request.codec().scheme() == v1::SCHEME_INT8 && request.question_id() == "q6") {
      reply.set_error_code(static_cast<int>(absl::StatusCode::kInternal));
      reply.set_error_message("checksum");
    }
    return reply;
  });
  const absl::StatusOr<RunOutcome> outcome = RunOnce();
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->num_incomplete, 1);
  EXPECT_EQ(outcome->session.failed, 1);
  EXPECT_EQ(ReadResults(folder_ / "run", "points")->size(), 2);
  const auto incomplete = *ReadResults(folder_ / "run", "incomplete");
  ASSERT_EQ(incomplete.size(), 1);
  EXPECT_EQ(incomplete[0]["answered"], 9);
  EXPECT_EQ(incomplete[0]["skipped"][0]["id"], "q6");
  const Report report = *MakeReport(folder_ / "run");
  EXPECT_THAT(report.terminal, HasSubstr("incomplete, not in the table: int8 on letters"));
  EXPECT_THAT(report.terminal, HasSubstr("checksum"));
}

TEST_F(RunnerTest, ADegradedAnswerNeverCounts) {
  Serve([](const v1::AnswerRequest& request) {
    v1::AnswerReply reply = Answer(request);
    if (request.question_id() == "q2") reply.set_degraded("sharer away");
    return reply;
  });
  const absl::StatusOr<RunOutcome> outcome = RunOnce();
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->num_incomplete, 3);
  EXPECT_EQ(outcome->session.failed, 3);
  EXPECT_TRUE(ReadResults(folder_ / "run", "points")->empty());
  EXPECT_EQ(LoadPredictions(PredictionsOf("bf16"))->size(), 9);
}

v1::ReceiverCard CardOfPair() {
  v1::ReceiverCard card;
  card.mutable_receiver()->set_dtype("fp32");
  card.mutable_sharer()->add_codebooks(0x1234);
  card.set_alignment("span");
  return card;
}

TEST_F(RunnerTest, AReceiverThatComesBackWithAnotherDtypeEndsTheRunAndLosesNothing) {
  v1::ReceiverCard other = CardOfPair();
  other.mutable_receiver()->set_dtype("bf16");
  Serve([&](const v1::AnswerRequest& request) {
    if (request.mode() == v1::MODE_FUSED) server_->SetCard(other);
    return Answer(request);
  });
  server_->SetCard(CardOfPair());
  server_->BreakStreamAfter(15, grpc::Status(grpc::StatusCode::UNAVAILABLE, "killed"));
  const absl::Status status = RunOnce().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("receiver.dtype was \"fp32\", is now \"bf16\""));
  EXPECT_EQ(LoadPredictions(PredictionsOf("receiver"))->size(), 10);
  EXPECT_EQ(LoadPredictions(PredictionsOf("bf16"))->size(), 5);
}

TEST_F(RunnerTest, AnotherCodebookOrAlignmentInTheSameFolderIsRefused) {
  Serve(Answer);
  server_->SetCard(CardOfPair());
  ASSERT_TRUE(RunOnce().ok());
  ASSERT_TRUE(RunOnce().ok());
  v1::ReceiverCard card = CardOfPair();
  card.mutable_sharer()->set_codebooks(0, 0x5678);
  server_->SetCard(card);
  const absl::Status status = RunOnce().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("sharer.codebooks[0] was \"0000000000001234"));
  card = CardOfPair();
  card.set_alignment("first");
  server_->SetCard(card);
  EXPECT_THAT(std::string(RunOnce().status().message()), HasSubstr("alignment was \"span\""));
}

TEST_F(RunnerTest, AFolderWhoseManifestLacksLaterFieldsIsContinued) {
  Serve(Answer);
  ASSERT_TRUE(RunOnce().ok());  // the card says nothing of codebooks and alignment
  v1::ReceiverCard card = CardOfPair();
  card.mutable_receiver()->set_model("fake-receiver");
  card.mutable_receiver()->clear_dtype();
  card.mutable_sharer()->set_model("fake-sharer");
  server_->SetCard(card);
  EXPECT_TRUE(RunOnce().ok()) << RunOnce().status();
}

TEST_F(RunnerTest, TheManifestOfTheCodeKeepsWhatEarlierSessionsRan) {
  Serve(Answer);
  const auto code = [&] {
    return nlohmann::ordered_json::parse(*ReadFile(folder_ / "run" / "manifests" / "code.json"));
  };
  ASSERT_TRUE(RunOnce().ok());
  ASSERT_TRUE(RunOnce().ok());
  EXPECT_FALSE(code().contains("earlier"));
  const std::string git = code()["git"];
  for (const char* revision : {"first", "second"}) {
    nlohmann::ordered_json other = code();
    other["git"] = revision;
    Write("run/manifests/code.json", other.dump());
    ASSERT_TRUE(RunOnce().ok());
  }
  EXPECT_EQ(code()["git"], git);
  ASSERT_EQ(code()["earlier"].size(), 2);
  EXPECT_EQ(code()["earlier"][0]["git"], "first");
  EXPECT_EQ(code()["earlier"][1]["git"], "second");
}

TEST_F(RunnerTest, OtherModelsInTheSameFolderAreRefused) {
  Serve(Answer);
  ASSERT_TRUE(RunOnce().ok());
  const std::filesystem::path manifest = folder_ / "run" / "manifests" / "models.json";
  std::string text = *ReadFile(manifest);
  text.replace(text.find("fake-sharer"), 11, "some-sharer");
  ASSERT_TRUE(WriteFileAtomically(manifest, text).ok());
  const absl::Status status = RunOnce().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("some-sharer"));
}

}  // namespace
}  // namespace qc2c
