// For tests: a Sharer whose Share does what the test says, on a thread of its own.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "common/rpc/byte_buffer.h"
#include "common/rpc/raw_stream_writer.h"
#include "common/rpc/server.h"
#include "qc2c/v1/sharer.grpc.pb.h"

namespace qc2c {

class FakeSharer : public v1::Sharer::WithRawCallbackMethod_Share<v1::Sharer::Service> {
 public:
  // Must come to writer->Finish.
  using Behaviour = std::function<void(const v1::ShareRequest&, RawStreamWriter* writer)>;

  explicit FakeSharer(Behaviour behaviour) : behaviour_(std::move(behaviour)) {}
  ~FakeSharer() override {
    for (std::thread& worker : workers_) worker.join();
  }

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Share(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* bytes) override {
    auto writer = RawStreamWriter::Create(
        context, {.on_cancel = [this] { Once(cancelled); },
                  .on_done = [this](const RawStreamWriter::Summary& end) { Once(done, &end); }});
    v1::ShareRequest request;
    if (absl::Status parsed = ParseMessage(*bytes, &request); !parsed.ok()) {
      writer->Finish(parsed);
    } else {
      std::lock_guard lock(mutex_);
      workers_.emplace_back([this, request, writer] { behaviour_(request, writer.get()); });
    }
    return writer->reactor();
  }

  // Of the first call that ended so.
  absl::Notification cancelled;
  absl::Notification done;
  RawStreamWriter::Summary summary;  // after `done`

 private:
  void Once(absl::Notification& event, const RawStreamWriter::Summary* end = nullptr) {
    std::lock_guard lock(mutex_);
    if (event.HasBeenNotified()) return;
    if (end != nullptr) summary = *end;
    event.Notify();
  }

  const Behaviour behaviour_;
  std::mutex mutex_;
  std::vector<std::thread> workers_;
};

inline std::vector<HostedService> Hosted(FakeSharer& sharer) {
  return {{v1::Sharer::service_full_name(), &sharer}};
}

}  // namespace qc2c
