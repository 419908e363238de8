// The gRPC face of the receiver. Reactions only check, hand over and write; the engine does the
// work.
#pragma once

#include <grpcpp/server_context.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "qc2c/v1/receiver.grpc.pb.h"
#include "receiver/answer_engine.h"

namespace qc2c {

class ReceiverService final : public v1::Receiver::CallbackService {
 public:
  ReceiverService(const AnswerParts& parts, const BatchLimits& limits, int num_workers);

  grpc::ServerUnaryReactor* Describe(grpc::CallbackServerContext* context,
                                     const v1::DescribeRequest* request,
                                     v1::ReceiverCard* card) override;
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context,
                                   const v1::AnswerRequest* request,
                                   v1::AnswerReply* reply) override;
  grpc::ServerBidiReactor<v1::AnswerRequest, v1::AnswerReply>* AnswerBatch(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* ReportScores(grpc::CallbackServerContext* context,
                                         const v1::ScoreReport* request,
                                         v1::ScoreReceipt* receipt) override;

  // Refuses new work; what is queued is still worked on.
  void StopAdmitting();

 private:
  const AnswerParts parts_;
  AnswerEngine engine_;
};

}  // namespace qc2c
