// The receiver's line to its sharer: asks for caches and for text, many at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/codec/codec_context.h"
#include "common/rpc/address.h"
#include "qc2c/v1/sharer.pb.h"

namespace qc2c {

// A call under way. Destroying it before its end cancels it.
template <typename Result>
class PendingCall {
 public:
  PendingCall(std::future<absl::StatusOr<Result>> result, std::function<void()> cancel)
      : result_(std::move(result)), cancel_(std::move(cancel)) {}
  ~PendingCall() {
    if (result_.valid()) cancel_();
  }
  PendingCall(const PendingCall&) = delete;
  PendingCall& operator=(const PendingCall&) = delete;

  // Blocks until the result is there, or until `cancelled` (polled, may be empty) says that nobody
  // wants it: CANCELLED. To be called once.
  absl::StatusOr<Result> Wait(const std::function<bool()>& cancelled) {
    while (result_.wait_for(std::chrono::milliseconds(20)) != std::future_status::ready) {
      if (!cancelled || !cancelled()) continue;
      cancel_();
      return absl::CancelledError("the caller went away");
    }
    return result_.get();
  }

 private:
  std::future<absl::StatusOr<Result>> result_;
  std::function<void()> cancel_;
};

// A cache as it arrived: nothing in it has been checked but the two sides' byte counts.
struct SharedMessages {
  std::vector<std::string> messages;  // serialized CacheChunk, in stream order
  v1::StageTimes sharer_times;
  uint64_t transfer_us =
      0;  // from the request to the last message, less what the sharer accounts for
};

// Text that the sharer wrote.
struct SharedText {
  v1::GenerateReply reply;
  uint64_t serialized_bytes = 0;  // of the reply
  v1::StageTimes sharer_times;
  uint64_t transfer_us = 0;
};

struct SharerLinkOptions {
  std::string address;  // unix:PATH or HOST:PORT
  RemoteAccess access = RemoteAccess::kRefuse;
  std::chrono::milliseconds patience{30000};  // for the first answer
  std::chrono::milliseconds timeout{30000};   // for each call after it
  uint64_t known_tokenizer = 0;  // hash of a tokenizer whose file the sharer need not send
};

// The status with "sharer ADDRESS: " in front of its message; OK stays OK.
absl::Status NamedSharer(const std::string& address, const absl::Status& status);

// Thread-safe. Every error says which sharer it is about.
class SharerLink {
 public:
  // Waits for a sharer and asks it to describe itself: the card has its tokenizer's file unless
  // that is known. UNAVAILABLE if none answers in time.
  static absl::StatusOr<std::unique_ptr<SharerLink>> Connect(const SharerLinkOptions& options);
  virtual ~SharerLink() = default;

  virtual const std::string& address() const = 0;  // as it was given
  virtual const v1::ModelCard& card() const = 0;
  // What the card says of the facts that a codec may need.
  virtual const ModelFacts& facts() const = 0;
  // DATA_LOSS if the sharer's count of serialized bytes differs from what arrived;
  // RESOURCE_EXHAUSTED once that is more than `max_bytes`.
  virtual std::unique_ptr<PendingCall<SharedMessages>> Share(const v1::ShareRequest& request,
                                                             uint64_t max_bytes) = 0;
  virtual std::unique_ptr<PendingCall<SharedText>> Generate(const v1::GenerateRequest& request) = 0;
};

}  // namespace qc2c
