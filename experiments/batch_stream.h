// One AnswerBatch stream, from its first request to its end. ReceiverClient strings them together.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "experiments/receiver_client.h"
#include "qc2c/v1/receiver.grpc.pb.h"

namespace qc2c {

// Thread-compatible: made, run and destroyed by one thread; it has a reading and a writing thread.
class BatchStream {
 public:
  // Borrows everything.
  BatchStream(v1::Receiver::StubInterface& stub, std::vector<const v1::AnswerRequest*> requests,
              const AskOptions& options);
  ~BatchStream();

  // Writes requests while fewer than options.in_flight are unanswered and calls `on_reply` on this
  // thread for every reply, errors included; on_reply says whether more requests may be sent.
  // Returns when all that was sent is answered, the stream has ended, or options.stopped().
  enum class More { kSend, kDrain };
  grpc::Status Run(const std::function<More(const v1::AnswerReply&)>& on_reply);

  size_t num_sent() const { return num_sent_; }  // after Run

 private:
  void Write();
  void Read();

  const AskOptions& options_;
  std::vector<const v1::AnswerRequest*> requests_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriterInterface<v1::AnswerRequest, v1::AnswerReply>> stream_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<v1::AnswerReply> replies_;  // read and not yet handled
  size_t num_sent_ = 0;
  size_t num_answered_ = 0;
  bool draining_ = false;  // no further request is sent
  bool writing_ = true;    // the writing thread has not said that it is done
  bool reading_ = true;    // the stream has not ended
};

}  // namespace qc2c
