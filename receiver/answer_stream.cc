#include "receiver/answer_stream.h"

#include <atomic>
#include <utility>

#include "common/rpc/status.h"
#include "common/serving/request_record.h"
#include "receiver/answer_request.h"

namespace qc2c {

// Replies on their way out, and the count of what is still owed.
class AnswerStream::Outbox {
 public:
  explicit Outbox(AnswerStream* stream) : stream_(stream) {}

  bool cancelled() const { return cancelled_; }
  void Cancel() { cancelled_ = true; }

  void Expect() {
    std::lock_guard lock(mutex_);
    ++owed_;
  }
  // Reads the next question now, or when the peer has read enough of its replies: one that only
  // writes must not have them pile up here.
  void ReadNext() {
    std::lock_guard lock(mutex_);
    wants_read_ = true;
    Advance();
  }
  // A final reply settles one that was expected.
  void Send(v1::AnswerReply reply) {
    std::lock_guard lock(mutex_);
    if (reply.final()) --owed_;
    replies_.push_back(std::move(reply));
    Advance();
  }
  void ReadsDone() {
    std::lock_guard lock(mutex_);
    reads_done_ = true;
    Advance();
  }
  void WriteDone(bool ok) {
    std::lock_guard lock(mutex_);
    writing_ = false;
    replies_.pop_front();
    if (!ok) cancelled_ = true;
    Advance();
  }
  void StreamDone() {
    std::lock_guard lock(mutex_);
    cancelled_ = true;
    stream_ = nullptr;
  }

 private:
  // More replies than a batch has, so that none waits for a reader that keeps up.
  static constexpr size_t kMaxUnread = 256;

  // Starts what can be: the next read, and the next write or the end. With the lock held.
  void Advance() {
    if (stream_ == nullptr || finished_) return;
    if (cancelled_ && !writing_) replies_.clear();
    if (wants_read_ && replies_.size() < kMaxUnread) {
      wants_read_ = false;
      stream_->StartRead();
    }
    if (writing_) return;
    if (!replies_.empty()) {
      writing_ = true;
      stream_->StartWrite(&replies_.front());
    } else if (reads_done_ && (owed_ == 0 || cancelled_)) {
      finished_ = true;
      stream_->Finish(cancelled_ ? grpc::Status::CANCELLED : grpc::Status::OK);
    }
  }

  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;
  AnswerStream* stream_;
  std::deque<v1::AnswerReply> replies_;  // the first one is being written if writing_
  int64_t owed_ = 0;
  bool wants_read_ = false;
  bool writing_ = false;
  bool reads_done_ = false;
  bool finished_ = false;
};

AnswerStream::AnswerStream(AnswerEngine& engine, Qc2cMetrics& metrics)
    : engine_(engine), metrics_(metrics), outbox_(std::make_shared<Outbox>(this)) {
  StartRead();
}

void AnswerStream::StartRead() { ServerBidiReactor::StartRead(&request_); }

void AnswerStream::OnReadDone(bool ok) {
  if (!ok) return outbox_->ReadsDone();
  Submit();
  outbox_->ReadNext();
}

void AnswerStream::Submit() {
  auto record = std::make_shared<RequestRecord>(metrics_, "AnswerBatch");
  // A longer one is refused; the reply that says so need not carry it all.
  const std::string id = request_.question_id().substr(0, kMaxQuestionIdBytes);
  record->Note("question_id", id);
  record->Note("mode", v1::Mode_Name(request_.mode()));
  outbox_->Expect();
  AnswerJob job;
  job.cancelled = [outbox = outbox_] { return outbox->cancelled(); };
  if (request_.streaming() == v1::AnswerRequest::STREAMING_TOKENS) {
    job.stream = [outbox = outbox_, id](std::string piece) {
      v1::AnswerReply delta;
      delta.set_question_id(id);
      delta.set_delta(std::move(piece));
      outbox->Send(std::move(delta));
    };
  }
  job.finish = [outbox = outbox_, record, id](absl::StatusOr<v1::AnswerReply> answer) {
    record->Finish(answer.status());
    if (answer.ok()) return outbox->Send(*std::move(answer));
    v1::AnswerReply error;
    error.set_question_id(id);
    error.set_final(true);
    error.set_error_code(static_cast<int>(answer.status().code()));
    error.set_error_message(std::string(answer.status().message()));
    outbox->Send(std::move(error));
  };
  auto finish = job.finish;
  job.request = std::move(request_);
  request_.Clear();
  const absl::Status status = engine_.Submit(std::move(job));
  if (status.ok()) return;
  metrics_.rejected_total.With(absl::StatusCodeToString(status.code())).Increment();
  finish(status);
}

void AnswerStream::OnWriteDone(bool ok) { outbox_->WriteDone(ok); }

void AnswerStream::OnCancel() { outbox_->Cancel(); }

void AnswerStream::OnDone() {
  outbox_->StreamDone();
  delete this;
}

}  // namespace qc2c
