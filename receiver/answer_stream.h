// One AnswerBatch stream: questions in, replies out in the order in which they are ready.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "common/obs/qc2c_metrics.h"
#include "qc2c/v1/receiver.pb.h"
#include "receiver/answer_engine.h"

namespace qc2c {

// Belongs to gRPC, which calls the reactions; workers reach it through an Outbox that outlives it.
// A question's error is a reply of its own, so that one bad question does not end the stream.
class AnswerStream final : public grpc::ServerBidiReactor<v1::AnswerRequest, v1::AnswerReply> {
 public:
  AnswerStream(AnswerEngine& engine, Qc2cMetrics& metrics);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  class Outbox;

  void StartRead();
  void Submit();

  AnswerEngine& engine_;
  Qc2cMetrics& metrics_;
  v1::AnswerRequest request_;  // of the read under way
  std::shared_ptr<Outbox> outbox_;
};

}  // namespace qc2c
