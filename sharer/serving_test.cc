// How the sharer serves many callers: batches, the bounded queue, callers that go away.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <future>

#include "sharer/served_sharer.h"

namespace qc2c {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

// Batches of the model, and sequences in them.
struct Batches {
  uint64_t count = 0;
  double sequences = 0;
};

Batches Count(ServedSharer& sharer) {
  const prometheus::ClientMetric metric = sharer.metrics.batch_size.Collect();
  return {metric.histogram.sample_count, metric.histogram.sample_sum};
}

const std::vector<size_t> kLengths = {1, 3, 15, 16, 17, 29, 30, 31, 40, 64, 111, 509};

std::vector<v1::ShareRequest> QuestionsOfAllLengths(const std::string& codec) {
  std::vector<v1::ShareRequest> requests;
  for (size_t i = 0; i < kLengths.size(); ++i) {
    requests.push_back(MakeShareRequest(codec, MakeIds(kLengths[i], i)));
  }
  return requests;
}

// The messages of all requests, asked at once.
std::vector<std::vector<std::string>> AskTogether(ServedSharer& sharer,
                                                  const std::vector<v1::ShareRequest>& requests) {
  std::deque<SharedReply> replies;
  for (const v1::ShareRequest& request : requests) replies.emplace_back(sharer.channel, request);
  std::vector<std::vector<std::string>> messages;
  for (SharedReply& reply : replies) messages.push_back(reply.messages());
  return messages;
}

class DeterminismTest : public testing::TestWithParam<const char*> {};

TEST_P(DeterminismTest, TheSameQuestionGivesTheSameBytesAloneAndAmongOthers) {
  const std::vector<v1::ShareRequest> requests = QuestionsOfAllLengths(GetParam());
  ServedSharer batched({.max_batch_size = 12, .max_wait = std::chrono::seconds(60)});
  ServedSharer one_by_one({.max_batch_size = 1});
  const auto among_others = AskTogether(batched, requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    for (int repetition = 0; repetition < 2; ++repetition) {
      SharedReply alone(one_by_one.channel, requests[i]);
      EXPECT_TRUE(alone.messages() == among_others[i]) << kLengths[i] << " tokens";
    }
  }
  EXPECT_EQ(Count(batched).count, 1u);
  EXPECT_EQ(Count(batched).sequences, 12);
}

INSTANTIATE_TEST_SUITE_P(Codecs, DeterminismTest,
                         testing::Values("fp32", "bf16", "fp16", "int8", "int4",
                                         "int8,select=value_norm,keep_ratio=0.25",
                                         "int8,select=attention,window=4,keep_ratio=0.25",
                                         "bf16,select=back,budget_bytes=1500"),
                         [](const auto& info) { return "codec" + std::to_string(info.index); });

// 509 tokens in fp32 are more than gRPC takes ahead of a caller that does not read.
TEST(SharerServingTest, WhileNobodyReadsWhatIsEncodedNoMoreIsTaken) {
  ServedSharer sharer({.max_wait = milliseconds(0)}, kDefaultChunkBytes, /*max_unsent_bytes=*/1);
  auto context = std::make_unique<grpc::ClientContext>();
  auto unread = sharer.stub->Share(context.get(), MakeShareRequest("fp32", MakeIds(509)));
  absl::Status status;
  const absl::Time patience_ends = absl::Now() + kPatience;
  while (status.ok() && absl::Now() < patience_ends) {
    SharedReply other(sharer.channel, MakeShareRequest("int8", MakeIds(10)));
    status = other.status();
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("wait for their readers"));

  context->TryCancel();
  unread->Finish();
  unread.reset();
  while (!status.ok() && absl::Now() < patience_ends) {
    SharedReply other(sharer.channel, MakeShareRequest("int8", MakeIds(10)));
    status = other.status();
  }
  EXPECT_TRUE(status.ok()) << status;
}

// No request makes such a job: it stands for memory that runs out between two stages.
TEST(SharerServingTest, WhatTorchThrowsEndsTheBatchAndTheNextOneIsServed) {
  Metrics registry;
  Qc2cMetrics metrics(registry);
  std::promise<absl::Status> failed, served;
  {
    ShareEngine engine(EmbeddedSharer(), metrics, {.max_batch_size = 1});
    for (std::promise<absl::Status>* ended : {&failed, &served}) {
      ShareJob job = MakeShareJob(EmbeddedSharer(), {}, MakeShareRequest("int8", MakeIds(10)),
                                  kDefaultChunkBytes)
                         .value();
      if (ended == &failed) job.tokens = {1000};
      job.finish = [ended](const absl::StatusOr<SharedCache>& shared) {
        ended->set_value(shared.status());
      };
      ASSERT_TRUE(engine.Submit(std::move(job)).ok());
    }
  }
  EXPECT_EQ(failed.get_future().get().code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(served.get_future().get().ok());
}

TEST(SharerServingTest, AFullQueueRefusesByNameAndServesAgainWhenThereIsRoom) {
  ServedSharer sharer({.max_batch_size = 8, .max_wait = milliseconds(500), .capacity = 2});
  const v1::ShareRequest request = MakeShareRequest("int8", MakeIds(10));
  SharedReply first(sharer.channel, request), second(sharer.channel, request);
  // The two wait for company: whichever of the three comes last is refused.
  SharedReply third(sharer.channel, request);
  int refused = 0;
  for (SharedReply* reply : {&first, &second, &third}) {
    if (reply->status().ok()) continue;
    ++refused;
    EXPECT_EQ(reply->status().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(reply->status().message()),
                HasSubstr("queue 'share' is full: 2 of 2 jobs are waiting"));
  }
  EXPECT_EQ(refused, 1);
  EXPECT_EQ(sharer.metrics.rejected_total.With("RESOURCE_EXHAUSTED").Value(), 1);
  SharedReply later(sharer.channel, request);
  EXPECT_TRUE(later.status().ok());
}

TEST(SharerServingTest, CancelledCallersCostNoWork) {
  ServedSharer sharer({.max_batch_size = 8, .max_wait = milliseconds(300), .capacity = 2});
  const v1::ShareRequest request = MakeShareRequest("int8", MakeIds(10));
  {
    SharedReply first(sharer.channel, request), second(sharer.channel, request);
    absl::SleepFor(absl::Milliseconds(100));  // until they are in the queue
    first.Cancel();
    second.Cancel();
    EXPECT_EQ(first.status().code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(second.status().code(), absl::StatusCode::kCancelled);
  }
  absl::SleepFor(absl::Milliseconds(500));  // their batch is due meanwhile
  EXPECT_EQ(Count(sharer).count, 0u);
  SharedReply later(sharer.channel, request);
  EXPECT_TRUE(later.status().ok());
  EXPECT_EQ(Count(sharer).sequences, 1);
}

TEST(SharerServingTest, ADeadlineEndsTheCallAndItsWork) {
  ServedSharer sharer({.max_batch_size = 8, .max_wait = milliseconds(500)});
  SharedReply late(sharer.channel, MakeShareRequest("int8", MakeIds(10)), absl::Milliseconds(100));
  EXPECT_EQ(late.status().code(), absl::StatusCode::kDeadlineExceeded);
  absl::SleepFor(absl::Milliseconds(800));
  EXPECT_EQ(Count(sharer).count, 0u);
}

TEST(SharerServingTest, AStoppingSharerRefusesNewQuestionsAndFinishesThoseThatWait) {
  ServedSharer sharer({.max_batch_size = 8, .max_wait = std::chrono::seconds(60)});
  const v1::ShareRequest request = MakeShareRequest("int8", MakeIds(10));
  SharedReply waiting(sharer.channel, request);
  absl::SleepFor(absl::Milliseconds(200));  // until it is in the queue
  sharer.service.StopAdmitting();
  SharedReply refused(sharer.channel, request);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("shutting down"));
  EXPECT_EQ(waiting.messages().size(), 1u);
}

}  // namespace
}  // namespace qc2c
