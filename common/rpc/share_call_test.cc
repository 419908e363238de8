#include "common/rpc/share_call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/rpc/channel.h"
#include "common/rpc/fake_sharer.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kShareSoon = absl::Seconds(10);

// Messages of the given sizes, with bytes that no two places share by chance.
std::vector<std::string> MakeMessages(const std::vector<size_t>& sizes) {
  std::vector<std::string> messages;
  uint32_t state = 1;
  for (size_t size : sizes) {
    std::string message(size, '\0');
    for (char& c : message) c = static_cast<char>((state = state * 1664525u + 1013904223u) >> 24);
    messages.push_back(std::move(message));
  }
  return messages;
}

// Runs one call to its end.
struct Caller {
  std::vector<std::string> messages;
  ShareOutcome outcome;
  absl::Notification first, done;

  std::shared_ptr<ShareCall> Start(const std::shared_ptr<grpc::Channel>& channel,
                                   ShareCallOptions options = {}) {
    options.on_message = [this](std::string message) {
      messages.push_back(std::move(message));
      if (messages.size() == 1) first.Notify();
    };
    options.on_done = [this](ShareOutcome end) {
      outcome = std::move(end);
      done.Notify();
    };
    v1::ShareRequest request;
    request.set_question_id("q1");
    request.add_ids(5);
    return ShareCall::Start(channel, request, std::move(options));
  }
};

class ShareCallTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "/qc2c_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override {
    host_.reset();
    std::filesystem::remove_all(folder_);
  }
  void Serve(FakeSharer::Behaviour behaviour) {
    sharer_ = std::make_unique<FakeSharer>(std::move(behaviour));
    const std::string address = std::string(GetParam()) == "unix"
                                    ? absl::StrCat("unix:", (folder_ / "s.sock").string())
                                    : "127.0.0.1:0";
    auto host = ServerHost::Start({.address = ParseAddress(address).value()}, Hosted(*sharer_));
    ASSERT_TRUE(host.ok()) << host.status();
    host_ = *std::move(host);
    channel_ = CreateChannel(host_->address()).value();
  }

  std::filesystem::path folder_;
  std::unique_ptr<FakeSharer> sharer_;
  std::unique_ptr<ServerHost> host_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_P(ShareCallTest, MessagesArriveUnchangedAndBothSidesCountTheSame) {
  const std::vector<size_t> sizes = {0, 1, 65536, 1 << 20, (3 << 20) + 17, 5};
  const auto sent = MakeMessages(sizes);
  Serve([&](const v1::ShareRequest& request, RawStreamWriter* writer) {
    EXPECT_EQ(request.question_id(), "q1");
    writer->Send({sent.begin(), sent.begin() + 2});
    writer->Send({sent.begin() + 2, sent.end()});
    v1::StageTimes times;
    times.set_encode_us(123);
    writer->Finish(absl::OkStatus(), times);
  });
  Caller caller;
  caller.Start(channel_);
  ASSERT_TRUE(caller.done.WaitForNotificationWithTimeout(kShareSoon));
  ASSERT_TRUE(caller.outcome.status.ok()) << caller.outcome.status;
  EXPECT_TRUE(caller.messages == sent);
  const uint64_t total = std::accumulate(sizes.begin(), sizes.end(), uint64_t{0});
  EXPECT_EQ(caller.outcome.rx_bytes, total);
  EXPECT_EQ(caller.outcome.tx_bytes.value(), total);
  EXPECT_EQ(caller.outcome.messages, sizes.size());
  EXPECT_EQ(caller.outcome.sharer_times.encode_us(), 123u);
  ASSERT_TRUE(sharer_->done.WaitForNotificationWithTimeout(kShareSoon));
  EXPECT_TRUE(sharer_->summary.status.ok());
  EXPECT_EQ(sharer_->summary.written_bytes, total);
  EXPECT_EQ(sharer_->summary.written_messages, sizes.size());
}

TEST_P(ShareCallTest, CancellingReachesTheSharerInTheMiddle) {
  absl::Notification worker_saw_it;
  Serve([&](const v1::ShareRequest&, RawStreamWriter* writer) {
    writer->Send(MakeMessages({1000}));
    while (!writer->cancelled()) absl::SleepFor(absl::Milliseconds(1));
    worker_saw_it.Notify();
    writer->Send(MakeMessages({1000}));
    writer->Finish(absl::OkStatus());
  });
  Caller caller;
  auto call = caller.Start(channel_);
  ASSERT_TRUE(caller.first.WaitForNotificationWithTimeout(kShareSoon));
  call->Cancel();
  ASSERT_TRUE(caller.done.WaitForNotificationWithTimeout(kShareSoon));
  EXPECT_EQ(caller.outcome.status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(caller.messages.size(), 1u);
  EXPECT_TRUE(worker_saw_it.WaitForNotificationWithTimeout(kShareSoon));
  ASSERT_TRUE(sharer_->cancelled.WaitForNotificationWithTimeout(kShareSoon));
  ASSERT_TRUE(sharer_->done.WaitForNotificationWithTimeout(kShareSoon));
  EXPECT_EQ(sharer_->summary.status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(sharer_->summary.written_bytes, 1000u);
  call->Cancel();  // of a call that is over: nothing happens
}

TEST_P(ShareCallTest, ADeadlineEndsTheCallOnBothSides) {
  Serve([](const v1::ShareRequest&, RawStreamWriter* writer) {
    while (!writer->cancelled()) absl::SleepFor(absl::Milliseconds(1));
    writer->Finish(absl::OkStatus());
  });
  // The call must reach the sharer within its time, also on a busy machine.
  ASSERT_TRUE(channel_->WaitForConnected(absl::ToChronoTime(absl::Now() + kShareSoon)));
  Caller caller;
  caller.Start(channel_, {.timeout = absl::Milliseconds(500)});
  ASSERT_TRUE(caller.done.WaitForNotificationWithTimeout(kShareSoon));
  EXPECT_EQ(caller.outcome.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(sharer_->cancelled.WaitForNotificationWithTimeout(kShareSoon));
  EXPECT_TRUE(sharer_->done.WaitForNotificationWithTimeout(kShareSoon));
}

TEST_P(ShareCallTest, TheSharersErrorArrivesWithItsReason) {
  Serve([](const v1::ShareRequest&, RawStreamWriter* writer) {
    writer->Finish(absl::InvalidArgumentError("ids: found none, expected at least one"));
    writer->Finish(absl::OkStatus());  // only the first counts
  });
  Caller caller;
  caller.Start(channel_);
  ASSERT_TRUE(caller.done.WaitForNotificationWithTimeout(kShareSoon));
  EXPECT_EQ(caller.outcome.status,
            absl::InvalidArgumentError("ids: found none, expected at least one"));
  EXPECT_EQ(caller.outcome.tx_bytes.value(), 0u);
}

TEST_P(ShareCallTest, MoreBytesThanAllowedEndTheCall) {
  Serve([](const v1::ShareRequest&, RawStreamWriter* writer) {
    writer->Send(MakeMessages({1000, 1000, 1000}));
    writer->Finish(absl::OkStatus());
  });
  Caller caller;
  caller.Start(channel_, {.max_bytes = 1999});
  ASSERT_TRUE(caller.done.WaitForNotificationWithTimeout(kShareSoon));
  EXPECT_EQ(caller.outcome.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(caller.outcome.status.message()), HasSubstr("at most 1999"));
  EXPECT_EQ(caller.messages.size(), 1u);
}

TEST_P(ShareCallTest, MessagesWithoutBytesCountToo) {
  Serve([](const v1::ShareRequest&, RawStreamWriter* writer) {
    for (int i = 0; i < 100; ++i) writer->Send(MakeMessages({0}));
    writer->Finish(absl::OkStatus());
  });
  Caller caller;
  caller.Start(channel_, {.max_bytes = 50 * kMessageOverhead});
  ASSERT_TRUE(caller.done.WaitForNotificationWithTimeout(kShareSoon));
  EXPECT_EQ(caller.outcome.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(caller.messages.size(), 50u);
}

TEST_P(ShareCallTest, AMessageOverTheLimitEndsTheCall) {
  Serve([](const v1::ShareRequest&, RawStreamWriter* writer) {
    writer->Send(MakeMessages({100'001}));
    writer->Finish(absl::OkStatus());
  });
  channel_ = CreateChannel(host_->address(), {.max_receive_message_bytes = 100'000}).value();
  Caller caller;
  caller.Start(channel_);
  ASSERT_TRUE(caller.done.WaitForNotificationWithTimeout(kShareSoon));
  EXPECT_EQ(caller.outcome.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(caller.messages.empty());
}

TEST_P(ShareCallTest, AnExceptionInTheCallersCallbackEndsTheCall) {
  Serve([](const v1::ShareRequest&, RawStreamWriter* writer) {
    writer->Send(MakeMessages({10}));
    while (!writer->cancelled()) absl::SleepFor(absl::Milliseconds(1));
    writer->Finish(absl::OkStatus());
  });
  absl::Notification done;
  absl::Status status;
  ShareCall::Start(channel_, {},
                   {.on_message = [](std::string) { throw std::runtime_error("broken"); },
                    .on_done =
                        [&](ShareOutcome outcome) {
                          status = outcome.status;
                          done.Notify();
                        }});
  ASSERT_TRUE(done.WaitForNotificationWithTimeout(kShareSoon));
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
}

TEST_P(ShareCallTest, ASharerThatIsAwayIsUnavailableAndOneThatReturnsIsFound) {
  const auto reply = [](const v1::ShareRequest&, RawStreamWriter* writer) {
    writer->Send(MakeMessages({10}));
    writer->Finish(absl::OkStatus());
  };
  Serve(reply);
  const Address address = host_->address();
  const auto channel = channel_;
  Caller before;
  before.Start(channel);
  ASSERT_TRUE(before.done.WaitForNotificationWithTimeout(kShareSoon));
  EXPECT_TRUE(before.outcome.status.ok()) << before.outcome.status;
  host_.reset();
  Caller away;
  away.Start(channel);
  ASSERT_TRUE(away.done.WaitForNotificationWithTimeout(kShareSoon));
  EXPECT_EQ(away.outcome.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(away.outcome.tx_bytes.ok());

  FakeSharer again(reply);
  auto host = ServerHost::Start({.address = address}, Hosted(again));
  ASSERT_TRUE(host.ok()) << host.status();
  const absl::Time limit = absl::Now() + absl::Seconds(5);
  absl::Status status;
  do {
    Caller after;
    after.Start(channel);
    ASSERT_TRUE(after.done.WaitForNotificationWithTimeout(kShareSoon));
    status = after.outcome.status;
    if (status.ok()) break;
    absl::SleepFor(absl::Milliseconds(50));
  } while (absl::Now() < limit);
  EXPECT_TRUE(status.ok()) << status;
}

// No server lives beside it, so the reaction that ends the call ends the process's last channel.
TEST(LastChannelTest, ACallMayBeTheLastToHoldItsChannel) {
  for (int round = 0; round < 20; ++round) {
    Caller caller;
    caller.Start(CreateChannel(ParseAddress("unix:absent.sock").value()).value());
    ASSERT_TRUE(caller.done.WaitForNotificationWithTimeout(kShareSoon));
    EXPECT_EQ(caller.outcome.status.code(), absl::StatusCode::kUnavailable);
  }
}

INSTANTIATE_TEST_SUITE_P(Transports, ShareCallTest, ::testing::Values("unix", "tcp"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace qc2c
