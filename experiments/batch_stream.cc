#include "experiments/batch_stream.h"

#include <chrono>
#include <utility>

namespace qc2c {
namespace {

constexpr auto kLookAround = std::chrono::milliseconds(100);

}  // namespace

BatchStream::BatchStream(v1::Receiver::StubInterface& stub,
                         std::vector<const v1::AnswerRequest*> requests, const AskOptions& options)
    : options_(options), requests_(std::move(requests)), stream_(stub.AnswerBatch(&context_)) {}

BatchStream::~BatchStream() = default;

void BatchStream::Write() {
  for (const v1::AnswerRequest* request : requests_) {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [&] {
        return draining_ || !reading_ || num_sent_ - num_answered_ < options_.in_flight;
      });
      if (draining_ || !reading_) break;
      ++num_sent_;  // before the write: its answer may arrive before Write returns
    }
    if (!stream_->Write(*request)) break;  // the stream is broken; Read learns why
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  writing_ = false;
  changed_.notify_all();
}

void BatchStream::Read() {
  v1::AnswerReply reply;
  while (stream_->Read(&reply)) {
    const std::lock_guard<std::mutex> lock(mutex_);
    replies_.push_back(std::move(reply));
    changed_.notify_all();
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  reading_ = false;
  changed_.notify_all();
}

grpc::Status BatchStream::Run(const std::function<More(const v1::AnswerReply&)>& on_reply) {
  std::thread writer([this] { Write(); });
  std::thread reader([this] { Read(); });
  std::unique_lock<std::mutex> lock(mutex_);
  bool half_closed = false;
  while (reading_ || !replies_.empty()) {
    changed_.wait_for(lock, kLookAround, [&] { return !replies_.empty() || !reading_; });
    while (!replies_.empty()) {
      const v1::AnswerReply reply = std::move(replies_.front());
      replies_.pop_front();
      lock.unlock();
      const More more = on_reply(reply);
      lock.lock();
      // A reply of an error is final, whether or not the receiver says so.
      if (reply.final() || reply.error_code() != 0) ++num_answered_;
      if (more == More::kDrain) draining_ = true;
      changed_.notify_all();
    }
    if (options_.stopped()) {
      draining_ = true;
      changed_.notify_all();
      context_.TryCancel();
    }
    if (!half_closed && !writing_ && num_answered_ >= num_sent_) {
      half_closed = true;  // everything that was sent is answered: the receiver may end the stream
      stream_->WritesDone();
    }
  }
  lock.unlock();
  changed_.notify_all();
  writer.join();
  reader.join();
  return stream_->Finish();
}

}  // namespace qc2c
