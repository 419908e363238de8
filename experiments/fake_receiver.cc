#include "experiments/fake_receiver.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace qc2c {

FakeReceiver::FakeReceiver(const std::filesystem::path& folder,
                           std::function<v1::AnswerReply(const v1::AnswerRequest&)> answer)
    : address_(absl::StrCat("unix:", (folder / "fake.sock").string())), answer_(std::move(answer)) {
  Start();
}

FakeReceiver::~FakeReceiver() { Stop(); }

void FakeReceiver::Start() {
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
}

void FakeReceiver::Stop() {
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  server_.reset();
}

void FakeReceiver::BreakStreamAfter(int num_answers, grpc::Status status) {
  const std::lock_guard<std::mutex> lock(mutex_);
  answers_until_break_ = num_answers;
  break_status_ = std::move(status);
}

std::map<std::string, int> FakeReceiver::times_asked() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return times_asked_;
}

std::vector<v1::ScoreReport> FakeReceiver::reports() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return reports_;
}

grpc::Status FakeReceiver::Describe(grpc::ServerContext*, const v1::DescribeRequest*,
                                    v1::ReceiverCard* card) {
  card->mutable_receiver()->set_model("fake-receiver");
  card->mutable_sharer()->set_model("fake-sharer");
  return grpc::Status::OK;
}

grpc::Status FakeReceiver::AnswerBatch(
    grpc::ServerContext*, grpc::ServerReaderWriter<v1::AnswerReply, v1::AnswerRequest>* stream) {
  v1::AnswerRequest request;
  while (stream->Read(&request)) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ++times_asked_[request.question_id()];
      if (answers_until_break_ == 0) {
        answers_until_break_ = -1;
        return break_status_;
      }
      if (answers_until_break_ > 0) --answers_until_break_;
    }
    stream->Write(answer_(request));
  }
  return grpc::Status::OK;
}

grpc::Status FakeReceiver::ReportScores(grpc::ServerContext*, const v1::ScoreReport* report,
                                        v1::ScoreReceipt*) {
  const std::lock_guard<std::mutex> lock(mutex_);
  reports_.push_back(*report);
  return grpc::Status::OK;
}

std::filesystem::path FreshFolder() {
  std::string folder = (std::filesystem::temp_directory_path() / "qc2c-test-XXXXXX").string();
  return mkdtemp(folder.data());
}

v1::AnswerReply TextReply(const v1::AnswerRequest& request, const std::string& text) {
  v1::AnswerReply reply;
  reply.set_question_id(request.question_id());
  reply.set_final(true);
  reply.set_text(text);
  reply.mutable_bytes()->set_tx(100);
  reply.mutable_bytes()->set_payload(80);
  reply.mutable_bytes()->set_header(20);
  reply.mutable_times()->set_total_us(2000);
  return reply;
}

}  // namespace qc2c
