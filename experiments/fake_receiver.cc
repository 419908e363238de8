#include "experiments/fake_receiver.h"

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace qc2c {

FakeReceiver::FakeReceiver(const std::filesystem::path& folder,
                           std::function<v1::AnswerReply(const v1::AnswerRequest&)> answer)
    : address_(absl::StrCat("unix:", (folder / "fake.sock").string())), answer_(std::move(answer)) {
  card_.mutable_receiver()->set_model("fake-receiver");
  card_.mutable_sharer()->set_model("fake-sharer");
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

void FakeReceiver::SetCard(const v1::ReceiverCard& card) {
  const std::lock_guard<std::mutex> lock(mutex_);
  card_ = card;
}

std::map<std::string, int> FakeReceiver::times_asked() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return times_asked_;
}

int FakeReceiver::most_outstanding() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return most_outstanding_;
}

std::vector<v1::ScoreReport> FakeReceiver::reports() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return reports_;
}

grpc::Status FakeReceiver::Describe(grpc::ServerContext*, const v1::DescribeRequest*,
                                    v1::ReceiverCard* card) {
  const std::lock_guard<std::mutex> lock(mutex_);
  *card = card_;
  return grpc::Status::OK;
}

bool FakeReceiver::Admit(const v1::AnswerRequest& request) {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++times_asked_[request.question_id()];
  most_outstanding_ = std::max(most_outstanding_, ++num_outstanding_);
  if (answers_until_break_ < 0) return true;
  return answers_until_break_-- > 0;
}

grpc::Status FakeReceiver::AnswerBatch(
    grpc::ServerContext*, grpc::ServerReaderWriter<v1::AnswerReply, v1::AnswerRequest>* stream) {
  std::deque<v1::AnswerRequest> waiting;
  std::condition_variable changed;
  bool all_read = false;
  // Answers on its own thread, so that reading shows how many the client dares to send.
  std::thread answering([&] {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      changed.wait(lock, [&] { return all_read || !waiting.empty(); });
      if (waiting.empty()) return;
      const v1::AnswerRequest request = std::move(waiting.front());
      waiting.pop_front();
      lock.unlock();
      const v1::AnswerReply reply = answer_(request);
      lock.lock();
      --num_outstanding_;
      lock.unlock();
      stream->Write(reply);
      lock.lock();
    }
  });
  v1::AnswerRequest request;
  grpc::Status status;
  while (status.ok() && stream->Read(&request)) {
    if (!Admit(request)) {
      status = break_status_;
      break;
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    waiting.push_back(request);
    changed.notify_one();
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    all_read = true;
    changed.notify_one();
  }
  answering.join();
  const std::lock_guard<std::mutex> lock(mutex_);
  num_outstanding_ = 0;
  return status;
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
