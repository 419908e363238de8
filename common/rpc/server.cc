#include "common/rpc/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/impl/server_builder_plugin.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <pthread.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"
#include "common/rpc/callback_threads.h"
#include "common/rpc/stop_signals.h"

namespace qc2c {
namespace {

constexpr absl::Duration kIdlePoll = absl::Milliseconds(5);
constexpr absl::Duration kReplyReading = absl::Milliseconds(100);

// The reflection library registers itself for every server of a process that merely links it; this
// takes it out of a server that does not want it.
class WithoutReflection : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins, [](const auto& p) { return p->name() == "proto_server_reflection"; });
  }
};

void ConfigureReflection(Reflection reflection, grpc::ServerBuilder* builder) {
  if (reflection == Reflection::kOn)
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();  // once, however often it is called
  else
    builder->SetOption(std::make_unique<WithoutReflection>());
}

void Configure(const ServerOptions& options, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(static_cast<int>(options.max_receive_message_bytes));
  builder->SetMaxSendMessageSize(-1);
  // By default a second daemon binds the same port, and the kernel splits the callers between them.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Our clients ping every 30 s while a call is open; the default answers that with a GOAWAY.
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 20'000);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // A peer whose machine is gone is noticed within minutes, and what is held for it let go.
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10'000);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServerHost>> ServerHost::Start(
    ServerOptions options, const std::vector<HostedService>& services) {
  RETURN_IF_ERROR(CheckAccess(options.address, options.access));
  RETURN_IF_ERROR(RemoveStaleSocket(options.address));
  KeepCallbackThreads();
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  ConfigureReflection(options.reflection, &builder);
  Configure(options, &builder);
  int port = 0;
  builder.AddListeningPort(options.address.ToString(), grpc::InsecureServerCredentials(), &port);
  for (const HostedService& hosted : services) builder.RegisterService(hosted.service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr)
    return absl::UnavailableError(absl::StrCat("cannot listen at ", options.address.ToString(),
                                               ": the address is in use, not ours, or its folder "
                                               "does not exist"));
  if (options.address.kind == Address::Kind::kTcp) options.address.port = port;
  for (const HostedService& hosted : services)
    server->GetHealthCheckService()->SetServingStatus(hosted.name, true);
  return std::unique_ptr<ServerHost>(new ServerHost(std::move(options), std::move(server)));
}

ServerHost::ServerHost(ServerOptions options, std::unique_ptr<grpc::Server> server)
    : options_(std::move(options)), server_(std::move(server)) {
  BlockStopSignals();
  stopper_ = std::thread([this] { StopWhenTold(); });
}

ServerHost::~ServerHost() {
  Stop();
  stopper_.join();
}

void ServerHost::StopWhenTold() {
  const sigset_t signals = StopSignals();
  int signal = 0;
  while (sigwait(&signals, &signal) != 0) {
  }
  server_->GetHealthCheckService()->Shutdown();
  if (options_.stop_admitting) options_.stop_admitting();
  if (options_.drain > absl::ZeroDuration()) {
    const timespec drain = absl::ToTimespec(options_.drain);
    sigtimedwait(&signals, nullptr, &drain);
  }
  const absl::Time deadline = absl::Now() + options_.grace;
  AwaitIdle(deadline);
  server_->Shutdown(absl::ToChronoTime(deadline));
  // gRPC removes the socket; this catches what it left, and spares one that a successor made.
  RemoveStaleSocket(options_.address).IgnoreError();
  stopped_.Notify();
}

// gRPC closes a connection right after its last call's trailers; a client that happens to write
// just then sees a broken pipe instead of them. So the calls end first, and their replies get time
// to be read.
void ServerHost::AwaitIdle(absl::Time deadline) const {
  if (!options_.busy) return;
  while (options_.busy() && absl::Now() < deadline) absl::SleepFor(kIdlePoll);
  absl::SleepFor(std::min(kReplyReading, deadline - absl::Now()));
}

void ServerHost::Wait() { stopped_.WaitForNotification(); }

void ServerHost::Stop() {
  // Sent to the thread alone, which has both signals blocked and waits for them.
  // NOLINTNEXTLINE(bugprone-bad-signal-to-kill-thread): a message, it kills nothing
  pthread_kill(stopper_.native_handle(), SIGTERM);
}

}  // namespace qc2c
