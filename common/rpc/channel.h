// Client channels, and the deadline that every call has.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/address.h"

namespace qc2c {

// Peers send cache messages of a chunk (see DESIGN: 1 MiB by default) and small replies; a larger
// message is RESOURCE_EXHAUSTED, which is what bounds memory against a peer that misbehaves.
inline constexpr size_t kDefaultMaxMessageBytes = size_t{16} << 20;

struct ChannelOptions {
  size_t max_receive_message_bytes = kDefaultMaxMessageBytes;
  RemoteAccess access = RemoteAccess::kRefuse;
};

// A channel that connects at the first call and again, within a second or so, when a restarted peer
// is back. INVALID_ARGUMENT for an address that CheckAccess refuses, or port 0.
absl::StatusOr<std::shared_ptr<grpc::Channel>> CreateChannel(const Address& address,
                                                             const ChannelOptions& options = {});

// `timeout` from now. An infinite one leaves the call without a deadline.
void SetTimeout(absl::Duration timeout, grpc::ClientContext* context);

// The time to allow for a call: `base`, and `bytes` at `floor_bytes_per_second`.
absl::Duration TransferTimeout(absl::Duration base, uint64_t bytes, double floor_bytes_per_second);

}  // namespace qc2c
