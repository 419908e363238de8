#include "experiments/receiver_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "experiments/fake_receiver.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;

class ReceiverClientTest : public testing::Test {
 protected:
  ReceiverClientTest() {
    for (int i = 0; i < 50; ++i) {
      requests_.emplace_back().set_question_id(absl::StrCat("q", i));
    }
    options_.in_flight = 8;
    options_.retry_for = absl::Seconds(20);
  }
  ~ReceiverClientTest() override { std::filesystem::remove_all(folder_); }

  void Serve(std::function<v1::AnswerReply(const v1::AnswerRequest&)> answer) {
    server_ = std::make_unique<FakeReceiver>(folder_, std::move(answer));
    client_ = std::move(*ReceiverClient::Create(server_->address()));
  }

  absl::StatusOr<AskResult> AskAll() {
    return client_->AnswerAll(requests_, options_, [&](const v1::AnswerReply& reply) {
      ++answered_[reply.question_id()];
      return absl::OkStatus();
    });
  }

  // Into `stream`, which the receiver's answers may depend on.
  void CountStreams(std::atomic<int>& stream) {
    options_.check_receiver = [&](const v1::ReceiverCard&) {
      ++stream;
      return absl::OkStatus();
    };
  }

  void ExpectEachAnsweredOnce() const {
    EXPECT_EQ(answered_.size(), requests_.size());
    for (const auto& [id, count] : answered_) EXPECT_EQ(count, 1) << id;
  }

  const std::filesystem::path folder_ = FreshFolder();
  std::unique_ptr<FakeReceiver> server_;
  std::unique_ptr<ReceiverClient> client_;
  std::vector<v1::AnswerRequest> requests_;
  AskOptions options_;
  std::map<std::string, int> answered_;
};

TEST_F(ReceiverClientTest, AsksEveryQuestionOnceAndGetsEveryAnswer) {
  Serve([](const v1::AnswerRequest& request) { return TextReply(request, "x"); });
  const absl::StatusOr<AskResult> result = AskAll();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->asked_again, 0);
  ExpectEachAnsweredOnce();
  for (const auto& [id, count] : server_->times_asked()) EXPECT_EQ(count, 1) << id;
}

TEST_F(ReceiverClientTest, NeverHasMoreThanTheAllowedNumberInFlight) {
  Serve([](const v1::AnswerRequest& request) {
    absl::SleepFor(absl::Milliseconds(3));
    return TextReply(request, "x");
  });
  options_.in_flight = 4;
  ASSERT_TRUE(AskAll().ok());
  EXPECT_LE(server_->most_outstanding(), 4);
  EXPECT_GE(server_->most_outstanding(), 2);
  ExpectEachAnsweredOnce();
}

TEST_F(ReceiverClientTest, ABrokenStreamIsOpenedAgainForWhatIsUnanswered) {
  Serve([](const v1::AnswerRequest& request) { return TextReply(request, "x"); });
  server_->BreakStreamAfter(20, grpc::Status(grpc::StatusCode::UNAVAILABLE, "killed"));
  const absl::StatusOr<AskResult> result = AskAll();
  ASSERT_TRUE(result.ok()) << result.status();
  ExpectEachAnsweredOnce();
  EXPECT_GE(result->asked_again, 1);
  EXPECT_LE(result->asked_again, 8);  // what was in flight
  for (int i = 0; i < 20; ++i) EXPECT_EQ(server_->times_asked()[absl::StrCat("q", i)], 1) << i;
}

TEST_F(ReceiverClientTest, ARestartedReceiverIsFoundAgain) {
  std::atomic<int> num_answers = 0;
  Serve([&](const v1::AnswerRequest& request) {
    ++num_answers;
    absl::SleepFor(absl::Milliseconds(5));
    return TextReply(request, "x");
  });
  std::thread restart([&] {
    while (num_answers < 10) absl::SleepFor(absl::Milliseconds(1));
    server_->Stop();
    absl::SleepFor(absl::Milliseconds(300));
    server_->Start();
  });
  const absl::StatusOr<AskResult> result = AskAll();
  restart.join();
  ASSERT_TRUE(result.ok()) << result.status();
  ExpectEachAnsweredOnce();
}

TEST_F(ReceiverClientTest, AQuestionWhoseSharerIsAwayIsAskedAgain) {
  std::atomic<int> refusals = 3;
  Serve([&](const v1::AnswerRequest& request) {
    v1::AnswerReply reply = TextReply(request, "x");
    if (request.question_id() == "q7" && refusals-- > 0) {
      reply.set_error_code(static_cast<int>(absl::StatusCode::kUnavailable));
      reply.set_error_message("sharer away");
    }
    return reply;
  });
  ASSERT_TRUE(AskAll().ok());
  ExpectEachAnsweredOnce();
  EXPECT_EQ(server_->times_asked()["q7"], 4);
}

TEST_F(ReceiverClientTest, AQuestionThatIsRefusedIsListedWithItsReasonAndNotAskedAgain) {
  Serve([](const v1::AnswerRequest& request) {
    v1::AnswerReply reply = TextReply(request, "x");
    if (request.question_id() == "q3") {
      reply.set_error_code(static_cast<int>(absl::StatusCode::kInvalidArgument));
      reply.set_error_message("prompt: 9000 tokens");
    }
    return reply;
  });
  const absl::StatusOr<AskResult> result = AskAll();
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->failed.size(), 1);
  EXPECT_EQ(result->failed[0].id, "q3");
  EXPECT_EQ(result->failed[0].status, absl::InvalidArgumentError("prompt: 9000 tokens"));
  EXPECT_EQ(answered_.size(), requests_.size() - 1);
  EXPECT_EQ(server_->times_asked()["q3"], 1);
}

constexpr int kRefusingStreams = 5;

v1::AnswerReply Refusal(const v1::AnswerRequest& request) {
  v1::AnswerReply reply = TextReply(request, "");
  reply.set_error_code(static_cast<int>(absl::StatusCode::kResourceExhausted));
  reply.set_error_message("too much");
  return reply;
}

TEST_F(ReceiverClientTest, AQuestionThatIsAlwaysTooMuchIsListedAndTheOthersAreAnswered) {
  Serve([](const v1::AnswerRequest& request) {
    const bool is_large = request.question_id() == "q7" || request.question_id() == "q49";
    return is_large ? Refusal(request) : TextReply(request, "x");
  });
  options_.retry_for = absl::Seconds(2);
  const absl::StatusOr<AskResult> result = AskAll();
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->failed.size(), 2);
  EXPECT_EQ(result->failed[0].id, "q7");
  EXPECT_EQ(result->failed[1].id, "q49");
  EXPECT_EQ(result->failed[0].status, absl::ResourceExhaustedError("too much"));
  EXPECT_EQ(answered_.size(), requests_.size() - 2);
}

TEST_F(ReceiverClientTest, AQueueThatThisRunOverfillsFailsNoQuestion) {
  std::map<int, int> num_taken;  // by stream: a few, then its queue is full
  std::atomic<int> stream = 0;
  Serve([&](const v1::AnswerRequest& request) {
    if (num_taken[stream] == 0) absl::SleepFor(absl::Milliseconds(50));  // all are sent meanwhile
    return ++num_taken[stream] > 3 ? Refusal(request) : TextReply(request, "x");
  });
  options_.in_flight = 64;
  CountStreams(stream);
  const absl::StatusOr<AskResult> result = AskAll();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->failed.empty());
  EXPECT_GT(server_->times_asked()["q49"], 5);
  ExpectEachAnsweredOnce();
}

TEST_F(ReceiverClientTest, AQueueThatOthersFillForAWhileFailsNoQuestion) {
  std::atomic<int> stream = 0;
  Serve([&](const v1::AnswerRequest& request) {
    return stream <= kRefusingStreams ? Refusal(request) : TextReply(request, "x");
  });
  CountStreams(stream);
  const absl::StatusOr<AskResult> result = AskAll();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->failed.empty());
  ExpectEachAnsweredOnce();
}

TEST_F(ReceiverClientTest, AReceiverThatCameBackAsAnotherIsNotAsked) {
  std::atomic<int> num_checks = 0;
  Serve([](const v1::AnswerRequest& request) { return TextReply(request, "x"); });
  server_->BreakStreamAfter(20, grpc::Status(grpc::StatusCode::UNAVAILABLE, "killed"));
  options_.check_receiver = [&](const v1::ReceiverCard& card) {
    EXPECT_EQ(card.receiver().model(), "fake-receiver");
    return ++num_checks == 1 ? absl::OkStatus() : absl::FailedPreconditionError("another");
  };
  EXPECT_EQ(AskAll().status(), absl::FailedPreconditionError("another"));
  EXPECT_EQ(answered_.size(), 20);
  EXPECT_EQ(num_checks, 2);
}

TEST_F(ReceiverClientTest, GivesUpWhenNothingIsAnsweredForLongEnough) {
  Serve([](const v1::AnswerRequest& request) { return TextReply(request, "x"); });
  server_->Stop();
  options_.retry_for = absl::Milliseconds(300);
  const absl::Status status = AskAll().status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("nothing was answered for 300ms"));
}

TEST_F(ReceiverClientTest, AStreamThatIsRefusedEndsTheRunAtOnce) {
  Serve([](const v1::AnswerRequest& request) { return TextReply(request, "x"); });
  server_->BreakStreamAfter(0, grpc::Status(grpc::StatusCode::PERMISSION_DENIED, "not you"));
  EXPECT_TRUE(absl::IsPermissionDenied(AskAll().status()));
}

TEST_F(ReceiverClientTest, AnAnswerToAQuestionThatWasAnsweredIsAnError) {
  Serve([](const v1::AnswerRequest& request) {
    v1::AnswerReply reply = TextReply(request, "x");
    if (request.question_id() == "q5") reply.set_question_id("q4");
    return reply;
  });
  const absl::Status status = AskAll().status();
  EXPECT_TRUE(absl::IsInternal(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"q4\""));
  EXPECT_EQ(answered_["q4"], 1);
}

TEST_F(ReceiverClientTest, AStopSignalEndsARunWhoseReceiverIsSilent) {
  std::atomic<bool> stop = false;
  Serve([&](const v1::AnswerRequest& request) {
    stop = true;
    absl::SleepFor(absl::Milliseconds(500));
    return TextReply(request, "x");
  });
  options_.stopped = [&] { return stop.load(); };
  EXPECT_TRUE(absl::IsCancelled(AskAll().status()));
  EXPECT_LT(answered_.size(), requests_.size());
}

TEST_F(ReceiverClientTest, NoReceiverIsAnErrorThatNamesTheAddress) {
  const auto client = std::move(*ReceiverClient::Create("unix:/nowhere/qc2c.sock"));
  const absl::Status status = client->Describe(absl::Milliseconds(200)).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("unix:/nowhere/qc2c.sock"));
}

}  // namespace
}  // namespace qc2c
