#include "common/serving/batch_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace qc2c {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

struct FakeJob {
  int id;
  int64_t tokens;
  int64_t num_tokens() const { return tokens; }
};

std::vector<int> Ids(const std::vector<FakeJob>& batch) {
  std::vector<int> ids;
  for (const FakeJob& job : batch) ids.push_back(job.id);
  return ids;
}

TEST(BatchQueueTest, FillsABatchByTokensInArrivalOrder) {
  BatchQueue<FakeJob> queue("test", {.max_batch_tokens = 10, .max_wait = microseconds(0)});
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(queue.Push({i, 4}).ok());
  EXPECT_THAT(Ids(queue.PopBatch()), testing::ElementsAre(0, 1));
  EXPECT_THAT(Ids(queue.PopBatch()), testing::ElementsAre(2, 3));
}

TEST(BatchQueueTest, AJobLargerThanABatchGoesAlone) {
  BatchQueue<FakeJob> queue("test", {.max_batch_tokens = 10, .max_wait = microseconds(0)});
  ASSERT_TRUE(queue.Push({0, 50}).ok());
  ASSERT_TRUE(queue.Push({1, 1}).ok());
  EXPECT_THAT(Ids(queue.PopBatch()), testing::ElementsAre(0));
}

// A model runs the short ones as long as the longest.
TEST(BatchQueueTest, EveryJobCountsAsTheLongest) {
  BatchQueue<FakeJob> queue("test", {.max_batch_tokens = 10, .max_wait = microseconds(0)});
  const int64_t tokens[] = {1, 1, 5, 1, 1};
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(queue.Push({i, tokens[i]}).ok());
  EXPECT_THAT(Ids(queue.PopBatch()), testing::ElementsAre(0, 1));
  EXPECT_THAT(Ids(queue.PopBatch()), testing::ElementsAre(2, 3));
  EXPECT_THAT(Ids(queue.PopBatch()), testing::ElementsAre(4));
}

TEST(BatchQueueTest, RefusesByNameWhenFull) {
  BatchQueue<FakeJob> queue("share", {.capacity = 1});
  ASSERT_TRUE(queue.Push({0, 1}).ok());
  const absl::Status status = queue.Push({1, 1});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("'share' is full: 1 of 1"));
}

TEST(BatchQueueTest, WaitsForCompanyAtMostTheConfiguredTime) {
  BatchQueue<FakeJob> queue("test", {.max_batch_size = 2, .max_wait = milliseconds(200)});
  std::jthread late([&] {
    std::this_thread::sleep_for(milliseconds(20));
    ASSERT_TRUE(queue.Push({1, 1}).ok());
  });
  ASSERT_TRUE(queue.Push({0, 1}).ok());
  EXPECT_THAT(Ids(queue.PopBatch()), testing::ElementsAre(0, 1));
}

TEST(BatchQueueTest, AfterCloseWhatWaitsIsStillHandedOut) {
  BatchQueue<FakeJob> queue("test", {});
  ASSERT_TRUE(queue.Push({0, 1}).ok());
  queue.Close();
  EXPECT_EQ(queue.Push({1, 1}).code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Ids(queue.PopBatch()), testing::ElementsAre(0));
  EXPECT_TRUE(queue.PopBatch().empty());
}

}  // namespace
}  // namespace qc2c
