#include "common/rpc/server.h"

#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <future>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/rpc/channel.h"
#include "common/rpc/fake_sharer.h"
#include "common/rpc/share_call.h"
#include "common/rpc/stop_signals.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;

// As a daemon does it first in main: before gRPC has made any thread.
const bool kSignalsBlocked = (BlockStopSignals(), true);

constexpr absl::Duration kSoon = absl::Seconds(10);

Address Parse(const std::string& text) { return ParseAddress(text).value(); }

void AnswerAtOnce(const v1::ShareRequest&, RawStreamWriter* writer) {
  writer->Finish(absl::OkStatus());
}

// The reply's bytes to a method that is called with these bytes.
std::pair<grpc::Status, std::string> RawCall(const Address& address, const std::string& method,
                                             const std::string& request) {
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub(
      CreateChannel(address).value());
  grpc::ClientContext context;
  SetTimeout(kSoon, &context);
  const grpc::ByteBuffer bytes = ToByteBuffer(request);
  grpc::ByteBuffer reply;
  std::promise<grpc::Status> status;
  stub.UnaryCall(&context, method, grpc::StubOptions(), &bytes, &reply,
                 [&](grpc::Status s) { status.set_value(std::move(s)); });
  const grpc::Status end = status.get_future().get();
  return {end, end.ok() ? ToBytes(reply).value() : ""};
}

// grpc.health.v1.HealthCheckRequest has the service's name as field 1, the reply its state.
std::pair<grpc::Status, std::string> Health(const Address& address, const std::string& service) {
  return RawCall(address, "/grpc.health.v1.Health/Check",
                 absl::StrCat("\x0a", std::string(1, static_cast<char>(service.size())), service));
}
const std::string kServing("\x08\x01");

class ServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "/qc2c_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    socket_ = Parse(absl::StrCat("unix:", (folder_ / "s.sock").string()));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
  Address socket_;
};

TEST_F(ServerTest, HealthNamesTheServiceAndTheProcess) {
  FakeSharer sharer(AnswerAtOnce);
  auto host = ServerHost::Start({.address = socket_}, Hosted(sharer));
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_EQ(Health(socket_, "qc2c.v1.Sharer").second, kServing);
  EXPECT_EQ(Health(socket_, "").second, kServing);
  EXPECT_EQ(Health(socket_, "unknown").first.error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ServerTest, ASecondServerOnTheSamePortIsRefusedByName) {
  FakeSharer sharer(AnswerAtOnce);
  auto first = ServerHost::Start({.address = Parse("127.0.0.1:0")}, Hosted(sharer));
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_GT((*first)->address().port, 0);
  FakeSharer other(AnswerAtOnce);
  auto second = ServerHost::Start({.address = (*first)->address()}, Hosted(other));
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr((*first)->address().ToString()));
}

TEST_F(ServerTest, ASecondServerOnALiveSocketIsRefusedAndTheFirstGoesOn) {
  FakeSharer sharer(AnswerAtOnce);
  auto first = ServerHost::Start({.address = socket_}, Hosted(sharer));
  ASSERT_TRUE(first.ok()) << first.status();
  FakeSharer other(AnswerAtOnce);
  auto second = ServerHost::Start({.address = socket_}, Hosted(other));
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(socket_.path));
  EXPECT_EQ(Health(socket_, "").second, kServing);
}

TEST_F(ServerTest, AddressesThatCannotBeBoundAreRefusedByName) {
  FakeSharer sharer(AnswerAtOnce);
  const Address nowhere = Parse(absl::StrCat("unix:", (folder_ / "absent" / "s.sock").string()));
  auto host = ServerHost::Start({.address = nowhere}, Hosted(sharer));
  EXPECT_EQ(host.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(host.status().message()), HasSubstr(nowhere.path));
  EXPECT_EQ(ServerHost::Start({.address = Parse("0.0.0.0:0")}, Hosted(sharer)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(ServerTest, StoppingRemovesTheSocketAndTheNextStartFindsItFree) {
  for (int round = 0; round < 2; ++round) {
    FakeSharer sharer(AnswerAtOnce);
    auto host = ServerHost::Start({.address = socket_}, Hosted(sharer));
    ASSERT_TRUE(host.ok()) << host.status();
    EXPECT_TRUE(std::filesystem::exists(socket_.path));
    (*host)->Stop();
    (*host)->Wait();
    EXPECT_FALSE(std::filesystem::exists(socket_.path));
  }
}

TEST_F(ServerTest, SigtermLetsAnOpenCallFinishAndRefusesNewOnes) {
  absl::Notification admitting_stopped;
  FakeSharer sharer([&](const v1::ShareRequest&, RawStreamWriter* writer) {
    writer->Send({"first"});
    admitting_stopped.WaitForNotification();
    absl::SleepFor(absl::Milliseconds(100));  // well into stopping
    writer->Send({"second"});
    writer->Finish(absl::OkStatus());
  });
  auto host = ServerHost::Start({.address = socket_,
                                 .grace = absl::Seconds(10),
                                 .stop_admitting = [&] { admitting_stopped.Notify(); },
                                 .busy = [&] { return !sharer.done.HasBeenNotified(); }},
                                Hosted(sharer));
  ASSERT_TRUE(host.ok()) << host.status();
  std::vector<std::string> messages;
  absl::Notification started, done;
  ShareOutcome end;
  ShareCall::Start(CreateChannel(socket_).value(), {},
                   {.on_message =
                        [&](std::string message) {
                          messages.push_back(std::move(message));
                          if (messages.size() == 1) started.Notify();
                        },
                    .on_done =
                        [&](ShareOutcome outcome) {
                          end = std::move(outcome);
                          done.Notify();
                        }});
  ASSERT_TRUE(started.WaitForNotificationWithTimeout(kSoon));
  const absl::Time begun = absl::Now();
  kill(getpid(), SIGTERM);
  (*host)->Wait();
  EXPECT_LT(absl::Now() - begun, absl::Seconds(5));  // ends with the call, not with the grace
  ASSERT_TRUE(done.WaitForNotificationWithTimeout(kSoon));
  EXPECT_TRUE(end.status.ok()) << end.status;
  EXPECT_THAT(messages, ::testing::ElementsAre("first", "second"));
  EXPECT_FALSE(std::filesystem::exists(socket_.path));
  EXPECT_EQ(Health(socket_, "").first.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(ServerTest, WhileDrainingHealthSaysSoAndASecondSignalEndsIt) {
  FakeSharer sharer(AnswerAtOnce);
  absl::Notification draining;
  auto host = ServerHost::Start({.address = socket_,
                                 .drain = absl::Seconds(60),
                                 .stop_admitting = [&] { draining.Notify(); }},
                                Hosted(sharer));
  ASSERT_TRUE(host.ok()) << host.status();
  const absl::Time begun = absl::Now();
  kill(getpid(), SIGINT);
  ASSERT_TRUE(draining.WaitForNotificationWithTimeout(kSoon));
  const auto [status, state] = Health(socket_, "qc2c.v1.Sharer");
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(state, "\x08\x02");  // NOT_SERVING
  kill(getpid(), SIGTERM);
  (*host)->Wait();
  EXPECT_LT(absl::Now() - begun, absl::Seconds(30));
}

TEST_F(ServerTest, ACallThatDoesNotEndIsCancelledAfterTheGrace) {
  FakeSharer sharer([](const v1::ShareRequest&, RawStreamWriter* writer) {
    writer->Send({"first"});
    while (!writer->cancelled()) absl::SleepFor(absl::Milliseconds(1));
    writer->Finish(absl::OkStatus());
  });
  auto host =
      ServerHost::Start({.address = socket_, .grace = absl::Milliseconds(300)}, Hosted(sharer));
  ASSERT_TRUE(host.ok()) << host.status();
  absl::Notification started, done;
  ShareCall::Start(CreateChannel(socket_).value(), {},
                   {.on_message = [&](std::string) { started.Notify(); },
                    .on_done = [&](ShareOutcome) { done.Notify(); }});
  ASSERT_TRUE(started.WaitForNotificationWithTimeout(kSoon));
  const absl::Time begun = absl::Now();
  (*host)->Stop();
  (*host)->Wait();
  EXPECT_GE(absl::Now() - begun, absl::Milliseconds(300));
  EXPECT_LT(absl::Now() - begun, absl::Seconds(5));
  EXPECT_TRUE(sharer.cancelled.HasBeenNotified());
  EXPECT_TRUE(done.WaitForNotificationWithTimeout(kSoon));
}

TEST_F(ServerTest, ReflectionIsThereOnlyWhenAskedFor) {
  const std::string method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
  const std::string list_services("\x3a\x00", 2);
  {
    FakeSharer sharer(AnswerAtOnce);
    auto host = ServerHost::Start({.address = socket_}, Hosted(sharer));
    ASSERT_TRUE(host.ok()) << host.status();
    EXPECT_EQ(RawCall(socket_, method, list_services).first.error_code(),
              grpc::StatusCode::UNIMPLEMENTED);
  }
  FakeSharer sharer(AnswerAtOnce);
  auto host =
      ServerHost::Start({.address = socket_, .reflection = Reflection::kOn}, Hosted(sharer));
  ASSERT_TRUE(host.ok()) << host.status();
  const auto [status, reply] = RawCall(socket_, method, list_services);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(reply, HasSubstr("qc2c.v1.Sharer"));
}

TEST(ChannelTest, RemoteAddressesAndPortZeroAreRefused) {
  EXPECT_EQ(CreateChannel(Parse("10.1.2.3:4")).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(
      CreateChannel(Parse("10.1.2.3:4"), {.access = RemoteAccess::kAllowInsecureRemote}).ok());
  EXPECT_EQ(CreateChannel(Parse("127.0.0.1:0")).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ChannelTest, ATransferTimeoutGrowsWithTheBytes) {
  EXPECT_EQ(TransferTimeout(absl::Seconds(2), 3'000'000, 1e6), absl::Seconds(5));
}

}  // namespace
}  // namespace qc2c
