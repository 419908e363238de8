// The server's side of a stream of messages that are already serialized.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "qc2c/v1/sharer.pb.h"

namespace qc2c {

// Made when a request arrives, handed to gRPC, and fed by a worker later:
//   auto writer = RawStreamWriter::Create(context, {.on_cancel = ..., .on_done = ...});
//   pool.Run([writer] { writer->Send(Encode()); writer->Finish(absl::OkStatus(), times); });
//   return writer->reactor();
// One message is given to the transport at a time, so the peer's flow control bounds what is
// buffered below this class; what was sent to it and not yet written waits here. The bytes of
// messages that were written are counted, and with the stage times they become the call's trailing
// metadata (metadata.h). Thread-safe. After the call is over every method is a no-op, so a worker
// may keep its pointer as long as it likes; the call's context must not be used after Finish.
class RawStreamWriter {
 public:
  struct Summary {
    absl::Status status;         // what the peer was told; CANCELLED if it went away
    uint64_t written_bytes = 0;  // serialized messages only
    uint64_t written_messages = 0;
  };
  // Both run on gRPC's few threads: they must not block. on_cancel at most once, when the peer
  // cancels, goes away or its deadline passes; on_done exactly once, last.
  struct Callbacks {
    std::function<void()> on_cancel;
    std::function<void(const Summary&)> on_done;
  };

  static std::shared_ptr<RawStreamWriter> Create(grpc::CallbackServerContext* context,
                                                 Callbacks callbacks = {});

  // What the method returns to gRPC; lives as long as the call, whatever becomes of this pointer.
  grpc::ServerWriteReactor<grpc::ByteBuffer>* reactor() { return &reactor_; }

  // Queues messages behind those that wait. Dropped if the call is cancelled.
  void Send(std::vector<std::string> messages);

  // Ends the call when everything is written; an error ends it at once and drops what waits. Only
  // the first Finish counts. Every worker must come to it, cancelled or not.
  void Finish(const absl::Status& status, const v1::StageTimes& times = {});

  // True once the peer is gone: work for it can stop.
  bool cancelled() const { return cancelled_; }
  uint64_t written_bytes() const { return written_bytes_; }

 private:
  class Reactor : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
   public:
    explicit Reactor(RawStreamWriter* writer) : writer_(writer) {}
    void OnWriteDone(bool ok) override { writer_->OnWriteDone(ok); }
    void OnCancel() override { writer_->OnCancel(); }
    void OnDone() override { writer_->OnDone(); }

   private:
    RawStreamWriter* writer_;
  };

  RawStreamWriter(grpc::CallbackServerContext* context, Callbacks callbacks);
  void OnWriteDone(bool ok);
  void OnCancel();
  void OnDone();
  void Advance();

  const Callbacks callbacks_;
  Reactor reactor_{this};
  std::atomic<bool> cancelled_{false};
  std::atomic<uint64_t> written_bytes_{0};

  std::mutex mutex_;
  grpc::CallbackServerContext* context_;   // until Finish was called on the reactor
  std::shared_ptr<RawStreamWriter> self_;  // until OnDone: gRPC holds the reactor
  std::deque<std::string> waiting_;
  bool writing_ = false;
  bool finished_ = false;                     // Finish was called on the reactor
  std::optional<absl::Status> final_status_;  // set by the first Finish or by a cancellation
  v1::StageTimes times_;
  uint64_t written_messages_ = 0;
  // Of the write under way; touched only by whoever set writing_.
  grpc::ByteBuffer message_;
};

}  // namespace qc2c
