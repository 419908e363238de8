// The client's side of Sharer.Share, which knows nothing of frames: messages stay serialized.
#pragma once

#include <grpcpp/channel.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "qc2c/v1/sharer.pb.h"

namespace qc2c {

// How a call ended.
struct ShareOutcome {
  absl::Status status;    // the sharer's, the transport's or this client's own
  uint64_t rx_bytes = 0;  // serialized messages, counted as they arrived
  uint64_t messages = 0;
  absl::StatusOr<uint64_t> tx_bytes = 0;  // the sharer's count; DATA_LOSS if it sent none
  v1::StageTimes sharer_times;            // zeros if it sent none
};

inline constexpr uint64_t kMessageOverhead = 64;

struct ShareCallOptions {
  absl::Duration timeout = absl::Seconds(30);
  // More than this in one call is RESOURCE_EXHAUSTED: what a peer can make this process hold. A
  // message counts kMessageOverhead more than it has, as one of no bytes is held too.
  uint64_t max_bytes = uint64_t{4} << 30;
  // Both run on gRPC's few threads, one call at a time: they must hand over and not block.
  // on_message comes once a message, in order; on_done once, last, also if the call never reached
  // the sharer.
  std::function<void(std::string message)> on_message;
  std::function<void(ShareOutcome outcome)> on_done;
};

// One call under way. Thread-safe; the call goes on if the pointer is dropped.
class ShareCall {
 public:
  static std::shared_ptr<ShareCall> Start(const std::shared_ptr<grpc::Channel>& channel,
                                          const v1::ShareRequest& request,
                                          ShareCallOptions options);
  virtual ~ShareCall() = default;

  // Ends the call soon, with CANCELLED unless it is over already.
  virtual void Cancel() = 0;

 protected:
  ShareCall() = default;
};

}  // namespace qc2c
