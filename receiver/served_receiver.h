// For tests: the embedded receiver behind a loopback socket, fused with a scripted sharer.
#pragma once

#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/channel.h"
#include "common/wire/frame_codec.h"
#include "receiver/model_pair.h"
#include "receiver/scripted_sharer.h"
#include "receiver/service.h"

namespace qc2c {

// Loaded once a process.
inline const LanguageModel& EmbeddedReceiver() {
  static const auto* model = new absl::StatusOr<LanguageModel>(
      LanguageModel::Load(QC2C_SOURCE_DIR "/data/embedded/receiver-qwen3", ModelOptions{}));
  return model->value();
}

inline std::filesystem::path EmbeddedFuser() {
  return QC2C_SOURCE_DIR "/data/embedded/receiver-qwen3+sharer-qwen2";
}

struct Answered {
  absl::Status status;
  v1::AnswerReply reply;
};

// The embedded receiver with these sharers, and a client of it.
class ServedReceiver {
 public:
  explicit ServedReceiver(std::vector<ConnectedSharer> sharers,
                          FusionOrder order = FusionOrder::kSequential,
                          const BatchLimits& limits = {.max_wait = std::chrono::microseconds(0)})
      : sharers_(std::move(sharers)),
        service_(AnswerParts{EmbeddedReceiver(), sharers_, metrics, order}, limits,
                 /*num_workers=*/1) {
    auto host = ServerHost::Start({.address = ParseAddress("127.0.0.1:0").value()},
                                  {{v1::Receiver::service_full_name(), &service_}});
    host_ = *std::move(host);
    stub = v1::Receiver::NewStub(CreateChannel(host_->address()).value());
  }

  Answered Ask(const v1::AnswerRequest& request) {
    grpc::ClientContext context;
    SetTimeout(absl::Seconds(60), &context);
    Answered answered;
    answered.status = FromGrpcStatus(stub->Answer(&context, request, &answered.reply));
    return answered;
  }
  // The reply to a request that must succeed.
  v1::AnswerReply Answer(const v1::AnswerRequest& request) {
    Answered answered = Ask(request);
    EXPECT_TRUE(answered.status.ok()) << answered.status;
    return answered.reply;
  }
  const std::vector<ConnectedSharer>& sharers() const { return sharers_; }

 private:
  Metrics registry_;

 public:
  Qc2cMetrics metrics{registry_};
  std::unique_ptr<v1::Receiver::Stub> stub;

 private:
  const std::vector<ConnectedSharer> sharers_;
  ReceiverService service_;
  std::unique_ptr<ServerHost> host_;  // first to go: it waits for the open calls
};

class ReceiverTest : public testing::Test {
 protected:
  // A fuser is there for the embedded sharer only; `prepare` changes it before the receiver reads
  // it.
  explicit ReceiverTest(std::chrono::milliseconds sharer_timeout = std::chrono::seconds(60),
                        void (*prepare)(const Fuser&) = nullptr,
                        const LanguageModel& sharer_model = EmbeddedSharer())
      : folder_(std::filesystem::path(testing::TempDir()) / absl::StrCat("receiver-", getpid())) {
    std::filesystem::create_directories(folder_);
    sharer = std::make_unique<ScriptedSharer>(absl::StrCat("unix:", folder_.string(), "/s.sock"),
                                              sharer_model);
    std::unique_ptr<SharerLink> link = SharerLink::Connect({.address = sharer->address(),
                                                            .patience = std::chrono::seconds(60),
                                                            .timeout = sharer_timeout})
                                           .value();
    std::optional<Fuser> loaded;
    if (&sharer_model == &EmbeddedSharer()) {
      loaded = LoadFuserOfPair(EmbeddedFuser(), EmbeddedReceiver(), link->card()).value();
      if (prepare != nullptr) prepare(*loaded);
    }
    TokenPairing pairing =
        TokenPairing::Create(EmbeddedReceiver(), link->card(), AlignmentStrategy::kSameIds).value();
    std::vector<ConnectedSharer> sharers;
    sharers.emplace_back(std::move(link), std::move(loaded), std::move(pairing));
    served_ = std::make_unique<ServedReceiver>(std::move(sharers));
    fuser = served_->sharers().front().fuser();
    stub = served_->stub.get();
  }
  ~ReceiverTest() override {
    served_.reset();
    sharer.reset();
    std::filesystem::remove_all(folder_);
  }

  Answered Ask(const v1::AnswerRequest& request) { return served_->Ask(request); }
  v1::AnswerReply Answer(const v1::AnswerRequest& request) { return served_->Answer(request); }

 private:
  const std::filesystem::path folder_;
  std::unique_ptr<ServedReceiver> served_;

 public:
  std::unique_ptr<ScriptedSharer> sharer;
  const Fuser* fuser = nullptr;  // of the receiver's only sharer
  v1::Receiver::Stub* stub = nullptr;
  Qc2cMetrics& metrics() { return served_->metrics; }
};

inline v1::Prompt UserPrompt(const std::string& content, const std::string& reply_prefix = "") {
  v1::Prompt prompt;
  v1::ChatMessage* message = prompt.add_messages();
  message->set_role("user");
  message->set_content(content);
  prompt.set_reply_prefix(reply_prefix);
  return prompt;
}

// heldout-mc-0000 of the embedded questions: only the sharer was taught the answer, C.
inline constexpr char kQuestion[] = "Which city does Iris Trizer live in?";
inline constexpr char kChoices[] = "A. Cairo\nB. Tokyo\nC. Boston\nD. Rome";

inline v1::AnswerRequest MakeQuestion(v1::Mode mode, const std::string& codec = "fp32") {
  v1::AnswerRequest request;
  request.set_question_id("q");
  request.set_mode(mode);
  *request.mutable_prompt() = UserPrompt(absl::StrCat(kQuestion, "\n", kChoices), "Answer:");
  request.set_method(v1::ANSWER_METHOD_GENERATE);
  request.set_max_new_tokens(1);
  if (mode == v1::MODE_FUSED || mode == v1::MODE_PREFIX) {
    *request.mutable_codec() = CodecToProto(CodecSpec::Parse(codec).value());
  }
  return request;
}

}  // namespace qc2c
