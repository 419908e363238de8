// A receiver in this process that says what a test wants, over real gRPC and a unix socket.
#pragma once

#include <grpcpp/grpcpp.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "qc2c/v1/receiver.grpc.pb.h"

namespace qc2c {

class FakeReceiver final : public v1::Receiver::Service {
 public:
  // Listens in `folder`. `answer` is called for each question, from several threads.
  FakeReceiver(const std::filesystem::path& folder,
               std::function<v1::AnswerReply(const v1::AnswerRequest&)> answer);
  ~FakeReceiver() override;

  // The next stream ends with `status` after this many answers.
  void BreakStreamAfter(int num_answers, grpc::Status status);
  // What Describe says from now on.
  void SetCard(const v1::ReceiverCard& card);
  // Away, as after a kill, and back at the same address.
  void Stop();
  void Start();

  const std::string& address() const { return address_; }
  std::map<std::string, int> times_asked() const;
  int most_outstanding() const;  // questions read and not yet answered, at the worst moment
  std::vector<v1::ScoreReport> reports() const;

 private:
  grpc::Status Describe(grpc::ServerContext*, const v1::DescribeRequest*,
                        v1::ReceiverCard* card) override;
  grpc::Status AnswerBatch(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::AnswerReply, v1::AnswerRequest>* stream) override;
  grpc::Status ReportScores(grpc::ServerContext*, const v1::ScoreReport* report,
                            v1::ScoreReceipt*) override;

  // Counts a request; false if the stream is to break now.
  bool Admit(const v1::AnswerRequest& request);

  const std::string address_;
  const std::function<v1::AnswerReply(const v1::AnswerRequest&)> answer_;
  std::unique_ptr<grpc::Server> server_;

  mutable std::mutex mutex_;
  int answers_until_break_ = -1;  // negative: never
  grpc::Status break_status_;
  int num_outstanding_ = 0;
  int most_outstanding_ = 0;
  v1::ReceiverCard card_;
  std::map<std::string, int> times_asked_;
  std::vector<v1::ScoreReport> reports_;
};

// A new folder of this test's own.
std::filesystem::path FreshFolder();

// A final reply with this text, 100 bytes and 2 ms.
v1::AnswerReply TextReply(const v1::AnswerRequest& request, const std::string& text);

}  // namespace qc2c
