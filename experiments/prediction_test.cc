#include "experiments/prediction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/files.h"
#include "experiments/fake_receiver.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;

class PredictionTest : public testing::Test {
 protected:
  ~PredictionTest() override { std::filesystem::remove_all(folder_); }

  static Prediction Make(const std::string& id) {
    Prediction prediction;
    prediction.id = id;
    prediction.pred = "B";
    prediction.gold = "B";
    prediction.correct = true;
    prediction.output = "B \xff\n\"quoted\"";  // a byte that is no UTF-8
    prediction.input_tokens = 33;
    prediction.bytes.set_tx(544);
    prediction.bytes.set_scales(32);
    prediction.times.set_fuse_us(7);
    prediction.times.set_total_us(1234);
    prediction.wall_us = 99;
    return prediction;
  }

  const std::filesystem::path folder_ = FreshFolder();
  const std::filesystem::path file_ = folder_ / "p.jsonl";
};

TEST_F(PredictionTest, WhatIsAppendedIsReadBack) {
  {
    PredictionLog log = *PredictionLog::Open(file_);
    ASSERT_TRUE(log.Append(Make("a")).ok());
    Prediction unreadable = Make("b");
    unreadable.pred.reset();
    unreadable.by_sharer = {{.sharer = 0, .bytes_tx = 500, .kept_tokens = 9},
                            {.sharer = 2, .bytes_tx = 44, .kept_tokens = 3}};
    ASSERT_TRUE(log.Append(unreadable).ok());
    EXPECT_EQ(LoadPredictions(file_)->size(), 2);  // without closing: each line is out
  }
  const std::vector<Prediction> read = *LoadPredictions(file_);
  EXPECT_EQ(read[0].id, "a");
  EXPECT_EQ(read[0].pred, "B");
  EXPECT_FALSE(read[1].pred.has_value());
  EXPECT_EQ(read[0].bytes.tx(), 544);
  EXPECT_EQ(read[0].bytes.scales(), 32);
  EXPECT_EQ(read[0].times.fuse_us(), 7);
  EXPECT_EQ(read[0].times.total_us(), 1234);
  EXPECT_EQ(read[0].wall_us, 99);
  EXPECT_EQ(read[0].ToJson()["bytes_tx"], 544);
  EXPECT_EQ(read[0].ToJson()["latency_ms"], 1.234);
  EXPECT_FALSE(read[0].ToJson().contains("by_sharer"));
  ASSERT_EQ(read[1].by_sharer.size(), 2);
  EXPECT_EQ(read[1].by_sharer[1].sharer, 2);
  EXPECT_EQ(read[1].by_sharer[1].bytes_tx, 44);
  EXPECT_EQ(read[1].by_sharer[1].kept_tokens, 3);
}

TEST_F(PredictionTest, WhereverTheLastLineIsCutOnlyItIsLost) {
  {
    PredictionLog log = *PredictionLog::Open(file_);
    ASSERT_TRUE(log.Append(Make("a")).ok());
    ASSERT_TRUE(log.Append(Make("b")).ok());
  }
  const std::string whole = *ReadFile(file_);
  const size_t first_line = whole.find('\n') + 1;
  for (size_t size = first_line; size < whole.size(); size += 7) {
    ASSERT_TRUE(WriteFileAtomically(file_, whole.substr(0, size)).ok());
    const auto read = LoadPredictions(file_);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->size(), 1) << size;
    EXPECT_EQ(std::filesystem::file_size(file_), first_line) << size;  // ready to append to
  }
}

TEST_F(PredictionTest, ADamagedLineOrAnAnswerTwiceIsAnErrorThatNamesTheLine) {
  const std::string line =
      Make("a").ToJson().dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
      "\n";
  ASSERT_TRUE(WriteFileAtomically(file_, line + line).ok());
  absl::Status status = LoadPredictions(file_).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("p.jsonl:2: \"a\" was answered before"));
  ASSERT_TRUE(WriteFileAtomically(file_, "{\"id\": \"a\"}\n" + line).ok());
  status = LoadPredictions(file_).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("p.jsonl:1: field \"gold\" is missing"));
}

TEST_F(PredictionTest, NoFileMeansNoAnswers) { EXPECT_TRUE(LoadPredictions(file_)->empty()); }

}  // namespace
}  // namespace qc2c
