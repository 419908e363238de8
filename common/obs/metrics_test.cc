#include "common/obs/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "common/obs/qc2c_metrics.h"
#include "common/obs/stage_timer.h"

namespace qc2c {
namespace {

using ::testing::Contains;
using ::testing::DoubleNear;
using ::testing::Key;
using ::testing::Pair;

// Sample name with labels -> value, of a page in the text format.
std::map<std::string, double> Samples(const Metrics& metrics) {
  std::map<std::string, double> samples;
  std::istringstream page(metrics.Serialize());
  for (std::string line; std::getline(page, line);) {
    if (line.empty() || line[0] == '#') continue;
    const size_t space = line.rfind(' ');
    EXPECT_TRUE(samples.emplace(line.substr(0, space), std::stod(line.substr(space + 1))).second)
        << "twice: " << line;
  }
  return samples;
}

size_t CountWithPrefix(const std::map<std::string, double>& samples, const std::string& prefix) {
  size_t count = 0;
  for (const auto& [name, value] : samples) count += name.starts_with(prefix);
  return count;
}

TEST(MetricsTest, BytesAreExposedByCodecAndPart) {
  Metrics metrics;
  Qc2cMetrics ours(metrics);
  CountBytes(ours.tx_bytes_total, "int8",
             {.payload = 100, .scales = 20, .indices = 3, .header = 4});
  CountBytes(ours.tx_bytes_total, "int8", {.payload = 1});
  const auto samples = Samples(metrics);
  EXPECT_EQ(samples.at(R"(qc2c_tx_bytes_total{codec="int8",part="payload"})"), 101);
  EXPECT_EQ(samples.at(R"(qc2c_tx_bytes_total{codec="int8",part="scales"})"), 20);
  EXPECT_EQ(samples.at(R"(qc2c_tx_bytes_total{codec="int8",part="indices"})"), 3);
  EXPECT_EQ(samples.at(R"(qc2c_tx_bytes_total{codec="int8",part="header"})"), 4);
}

TEST(MetricsTest, AFamilySaysItsTypeAndHelp) {
  Metrics metrics;
  Qc2cMetrics ours(metrics);
  const std::string page = metrics.Serialize();
  EXPECT_THAT(page, ::testing::HasSubstr("# TYPE qc2c_stage_seconds histogram\n"));
  EXPECT_THAT(page, ::testing::HasSubstr("# TYPE qc2c_inflight gauge\n"));
  EXPECT_THAT(page, ::testing::HasSubstr("# HELP qc2c_inflight "));
}

TEST(MetricsTest, StageBucketsDoubleFromHalfAMillisecondAndIncludeTheirBound) {
  Metrics metrics;
  Qc2cMetrics ours(metrics);
  ours.ObserveStage(Stage::kSharerPrefill, 500);
  ours.ObserveStage(Stage::kSharerPrefill, 501);
  ours.ObserveStage(Stage::kSharerPrefill, 17'000'000);
  const auto samples = Samples(metrics);
  const std::string bucket = R"(qc2c_stage_seconds_bucket{stage="sharer_prefill",le=)";
  EXPECT_EQ(CountWithPrefix(samples, bucket), 17u);  // 16 bounds and +Inf
  EXPECT_EQ(samples.at(bucket + "\"0.0005\"}"), 1);
  EXPECT_EQ(samples.at(bucket + "\"0.001\"}"), 2);
  EXPECT_EQ(samples.at(bucket + "\"16.384\"}"), 2);
  EXPECT_EQ(samples.at(bucket + "\"+Inf\"}"), 3);
  EXPECT_THAT(samples.at(R"(qc2c_stage_seconds_sum{stage="sharer_prefill"})"),
              DoubleNear(17.001001, 1e-9));
}

TEST(MetricsTest, EveryStageIsExposedBeforeItRan) {
  Metrics metrics;
  Qc2cMetrics ours(metrics);
  const auto samples = Samples(metrics);
  for (const char* stage : {"queue", "tokenize", "sharer_prefill", "encode", "transfer",
                            "decode_cache", "receiver_prefill", "fuse", "generate"})
    EXPECT_THAT(samples, Contains(Pair(
                             "qc2c_stage_seconds_count{stage=\"" + std::string(stage) + "\"}", 0)));
}

TEST(MetricsTest, LabelValuesAreEscaped) {
  Metrics metrics;
  Qc2cMetrics ours(metrics);
  ours.degraded_total.With("a\"b\\c\nd").Increment();
  EXPECT_THAT(Samples(metrics), Contains(Key(R"(qc2c_degraded_total{reason="a\"b\\c\nd"})")));
}

TEST(MetricsTest, MadeUpCodecsEndUnderOtherAndLoseNoCount) {
  constexpr int kCodecs = 10'000;
  Metrics metrics;
  Qc2cMetrics ours(metrics);
  ours.tokens_total.With("int8", "kept").Increment(7);
  for (int i = 0; i < kCodecs; ++i) ours.CountTokens("codec" + std::to_string(i), 2, 1);
  const auto samples = Samples(metrics);
  // The closed label may add its two values under "other" to the bound.
  EXPECT_LE(CountWithPrefix(samples, "qc2c_tokens_total{"), kMaxLabelSets + 2);
  double kept = 0, dropped = 0;
  for (const auto& [name, value] : samples) {
    if (!name.starts_with("qc2c_tokens_total{")) continue;
    (name.find("fate=\"kept\"") != std::string::npos ? kept : dropped) += value;
  }
  EXPECT_EQ(kept, 2 * kCodecs + 7);
  EXPECT_EQ(dropped, kCodecs);
  EXPECT_GT(samples.at(R"(qc2c_tokens_total{codec="other",fate="kept"})"), 0);
  ours.tokens_total.With("int8", "kept").Increment();  // an early one keeps its own
  EXPECT_EQ(Samples(metrics).at(R"(qc2c_tokens_total{codec="int8",fate="kept"})"), 8);
}

TEST(MetricsTest, AnOverlongOpenLabelIsOther) {
  Metrics metrics;
  Qc2cMetrics ours(metrics);
  ours.questions_total.With(std::string(129, 'x'), "fused", "int8").Increment();
  EXPECT_THAT(
      Samples(metrics),
      Contains(Pair(R"(qc2c_questions_total{codec="int8",dataset="other",mode="fused"})", 1)));
}

TEST(MetricsTest, HandlesAreFoundAgainFromManyThreads) {
  Metrics metrics;
  Qc2cMetrics ours(metrics);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i)
        ours.requests_total.With("Share", i % 2 == 0 ? "OK" : "CANCELLED").Increment();
    });
  for (std::thread& thread : threads) thread.join();
  const auto samples = Samples(metrics);
  EXPECT_EQ(samples.at(R"(qc2c_requests_total{code="OK",method="Share"})"), 2000);
  EXPECT_EQ(samples.at(R"(qc2c_requests_total{code="CANCELLED",method="Share"})"), 2000);
}

TEST(StageTimerTest, AddsWhatItsScopeTook) {
  uint64_t sum_us = 1'000'000;
  {
    StageTimer timer(&sum_us);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_GE(timer.ElapsedUs(), 20'000u);
  }
  EXPECT_GE(sum_us, 1'020'000u);
}

}  // namespace
}  // namespace qc2c
