#include "common/rpc/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"
#include "common/rpc/callback_threads.h"

namespace qc2c {

absl::StatusOr<std::shared_ptr<grpc::Channel>> CreateChannel(const Address& address,
                                                             const ChannelOptions& options) {
  RETURN_IF_ERROR(CheckAccess(address, options.access));
  if (address.kind == Address::Kind::kTcp && address.port == 0)
    return absl::InvalidArgumentError(
        absl::StrCat("address ", address.ToString(), ": a peer's port cannot be 0"));
  KeepCallbackThreads();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(options.max_receive_message_bytes));
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5'000);  // what one attempt may take
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);             // a peer is reached as it is named
  return grpc::CreateCustomChannel(address.ToString(), grpc::InsecureChannelCredentials(),
                                   arguments);
}

void SetTimeout(absl::Duration timeout, grpc::ClientContext* context) {
  if (timeout == absl::InfiniteDuration()) return;
  context->set_deadline(absl::ToChronoTime(absl::Now() + timeout));
}

absl::Duration TransferTimeout(absl::Duration base, uint64_t bytes, double floor_bytes_per_second) {
  return base + absl::Seconds(static_cast<double>(bytes) / floor_bytes_per_second);
}

}  // namespace qc2c
