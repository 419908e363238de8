// For tests: the embedded sharer behind a loopback socket, and a caller that sees raw messages.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "common/obs/qc2c_metrics.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "common/rpc/share_call.h"
#include "common/wire/frame_codec.h"
#include "sharer/embedded_sharer.h"
#include "sharer/service.h"

namespace qc2c {

inline constexpr absl::Duration kPatience = absl::Seconds(60);

// A Share call from its start to its end.
class SharedReply {
 public:
  SharedReply(const std::shared_ptr<grpc::Channel>& channel, const v1::ShareRequest& request,
              absl::Duration timeout = kPatience)
      : call_(ShareCall::Start(
            channel, request,
            {.timeout = timeout,
             .on_message = [this](std::string bytes) { messages_.push_back(std::move(bytes)); },
             .on_done =
                 [this](ShareOutcome outcome) {
                   outcome_ = std::move(outcome);
                   done_.Notify();
                 }})) {}
  SharedReply(const SharedReply&) = delete;
  ~SharedReply() {
    call_->Cancel();
    done_.WaitForNotification();
  }

  void Cancel() { call_->Cancel(); }
  const ShareOutcome& outcome() {
    EXPECT_TRUE(done_.WaitForNotificationWithTimeout(kPatience));
    return outcome_;
  }
  const absl::Status& status() { return outcome().status; }
  // Serialized CacheChunk, in stream order.
  const std::vector<std::string>& messages() {
    EXPECT_TRUE(status().ok()) << status();
    return messages_;
  }

 private:
  std::vector<std::string> messages_;
  ShareOutcome outcome_;
  absl::Notification done_;
  const std::shared_ptr<ShareCall> call_;  // last: it reports into the others
};

class ServedSharer {
 public:
  explicit ServedSharer(const BatchLimits& limits = {.max_wait = std::chrono::microseconds(0)},
                        uint32_t chunk_bytes = kDefaultChunkBytes,
                        uint64_t max_unsent_bytes = kMaxUnsentBytes)
      : metrics(registry_),
        service(EmbeddedSharer(), metrics, limits, chunk_bytes, {}, max_unsent_bytes) {
    auto host = ServerHost::Start({.address = ParseAddress("127.0.0.1:0").value()},
                                  {{v1::Sharer::service_full_name(), &service}});
    host_ = *std::move(host);
    channel = CreateChannel(host_->address()).value();
    stub = v1::Sharer::NewStub(channel);
  }

 private:
  Metrics registry_;

 public:
  Qc2cMetrics metrics;
  SharerService service;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::Sharer::Stub> stub;

 private:
  std::unique_ptr<ServerHost> host_;  // first to go: it waits for the open calls
};

inline v1::ShareRequest MakeShareRequest(const std::string& codec, std::vector<uint32_t> ids,
                                         std::vector<uint32_t> layers = {1, 2, 3, 4}) {
  v1::ShareRequest request;
  request.mutable_ids()->Assign(ids.begin(), ids.end());
  request.mutable_key_layers()->Assign(layers.begin(), layers.end());
  request.mutable_value_layers()->Assign(layers.begin(), layers.end());
  *request.mutable_codec() = CodecToProto(CodecSpec::Parse(codec).value());
  return request;
}

// `count` token ids of no meaning; another `seed` gives others.
inline std::vector<uint32_t> MakeIds(size_t count, uint32_t seed = 1) {
  std::vector<uint32_t> ids;
  for (uint32_t i = 0; i < count; ++i) ids.push_back(10 + (seed * 7919 + i * 104729) % 1900);
  return ids;
}

}  // namespace qc2c
