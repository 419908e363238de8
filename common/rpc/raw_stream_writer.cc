#include "common/rpc/raw_stream_writer.h"

#include <utility>

#include "common/rpc/byte_buffer.h"
#include "common/rpc/metadata.h"
#include "common/rpc/status.h"

namespace qc2c {

std::shared_ptr<RawStreamWriter> RawStreamWriter::Create(grpc::CallbackServerContext* context,
                                                         Callbacks callbacks) {
  std::shared_ptr<RawStreamWriter> writer(new RawStreamWriter(context, std::move(callbacks)));
  writer->self_ = writer;
  return writer;
}

RawStreamWriter::RawStreamWriter(grpc::CallbackServerContext* context, Callbacks callbacks)
    : callbacks_(std::move(callbacks)), context_(context) {}

void RawStreamWriter::Send(std::vector<std::string> messages) {
  {
    std::lock_guard lock(mutex_);
    if (final_status_) return;
    for (std::string& message : messages) waiting_.push_back(std::move(message));
  }
  Advance();
}

void RawStreamWriter::Finish(const absl::Status& status, const v1::StageTimes& times) {
  {
    std::lock_guard lock(mutex_);
    if (final_status_) return;
    final_status_ = status;
    times_ = times;
    if (!status.ok()) waiting_.clear();
  }
  Advance();
}

// Starts the next operation if none is under way. gRPC is called outside the lock; `writing_` and
// `finished_` keep everybody else from starting an operation meanwhile, and so keep the reactor
// alive.
void RawStreamWriter::Advance() {
  std::unique_lock lock(mutex_);
  if (writing_ || finished_) return;
  if (!waiting_.empty()) {
    message_ = ToByteBuffer(std::move(waiting_.front()));
    waiting_.pop_front();
    writing_ = true;
    lock.unlock();
    reactor_.StartWrite(&message_);
    return;
  }
  if (!final_status_) return;
  finished_ = true;
  const grpc::Status status = ToGrpcStatus(*final_status_);
  AddTxBytes(written_bytes_, context_);
  AddStageTimes(times_, context_);
  context_ = nullptr;
  lock.unlock();
  reactor_.Finish(status);
}

// gRPC swallows what a reaction throws and then the call would hang, so nothing may escape: the
// only thing that can throw here is a failed allocation, and then the call ends without its
// message.
void RawStreamWriter::OnWriteDone(bool ok) {
  try {
    {
      std::lock_guard lock(mutex_);
      writing_ = false;
      if (ok) {
        written_bytes_ += message_.Length();
        ++written_messages_;
      } else {
        waiting_.clear();
        if (!final_status_) final_status_ = absl::CancelledError("the peer closed the stream");
      }
      message_.Clear();
    }
    Advance();
  } catch (...) {
    Finish(absl::InternalError("cannot send the next message"));
  }
}

void RawStreamWriter::OnCancel() {
  cancelled_ = true;
  try {
    {
      std::lock_guard lock(mutex_);
      waiting_.clear();
      // Also over a Finish whose messages were still waiting: they will not arrive.
      if (!finished_) final_status_ = absl::CancelledError("the caller went away");
    }
    if (callbacks_.on_cancel) callbacks_.on_cancel();
    Advance();
  } catch (...) {
    Finish(absl::CancelledError("the caller went away"));
  }
}

void RawStreamWriter::OnDone() {
  std::shared_ptr<RawStreamWriter> self;
  Summary summary;
  {
    std::lock_guard lock(mutex_);
    self = std::move(self_);
    summary = {cancelled_ ? absl::CancelledError("the caller went away") : *final_status_,
               written_bytes_, written_messages_};
  }
  try {
    if (callbacks_.on_done) callbacks_.on_done(summary);
  } catch (...) {  // NOLINT(bugprone-empty-catch): nobody is left to tell, and gRPC must not see it
  }
}

}  // namespace qc2c
