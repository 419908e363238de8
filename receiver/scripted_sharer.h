// For tests: a sharer that answers with true caches, or with whatever a test makes of them.
#pragma once

#include <grpcpp/server_context.h>
#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/obs/qc2c_metrics.h"
#include "common/rpc/byte_buffer.h"
#include "common/rpc/metadata.h"
#include "common/rpc/server.h"
#include "common/rpc/status.h"
#include "common/wire/peer_codecs.h"
#include "qc2c/v1/sharer.grpc.pb.h"
#include "sharer/embedded_sharer.h"
#include "sharer/share_engine.h"

namespace qc2c {

// How a call is answered.
struct ShareScript {
  std::vector<std::string> messages;
  std::optional<uint64_t> claimed_bytes;  // absent: what was written
  absl::Status status;
  enum class End { kFinish, kNever } end = End::kFinish;
};

class ScriptedSharer final : public v1::Sharer::WithRawCallbackMethod_Share<v1::Sharer::Service> {
 public:
  // `address` as ParseAddress reads it.
  explicit ScriptedSharer(std::string address, const LanguageModel& model = EmbeddedSharer())
      : address_(std::move(address)), model_(model) {
    card = model_.Card();
    DescribeCodecs(card);
    Start();
  }

  void Start() {
    auto host = ServerHost::Start({.address = ParseAddress(address_).value()},
                                  {{v1::Sharer::service_full_name(), this}});
    host_ = *std::move(host);
  }
  void Stop() { host_.reset(); }
  const std::string& address() const { return address_; }

  // What the service does, until the next call of these.
  using ShareBehaviour = std::function<ShareScript(ShareScript truth)>;
  void OnShare(ShareBehaviour behaviour) {
    std::lock_guard lock(mutex_);
    behaviour_ = std::move(behaviour);
  }
  v1::ModelCard card;
  std::string hint = "Boston";       // what Generate writes
  int64_t hint_claimed_surplus = 0;  // how far Generate's count is off

  // The requests so far.
  std::vector<v1::ShareRequest> shares() const {
    std::lock_guard lock(mutex_);
    return shares_;
  }
  std::vector<v1::GenerateRequest> generates() const {
    std::lock_guard lock(mutex_);
    return generates_;
  }

  grpc::Status Describe(grpc::ServerContext*, const v1::DescribeRequest*,
                        v1::ModelCard* reply) override {
    *reply = card;
    return grpc::Status::OK;
  }
  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        v1::GenerateReply* reply) override {
    std::lock_guard lock(mutex_);
    generates_.push_back(*request);
    reply->set_text(hint);
    reply->set_num_prompt_tokens(7);
    reply->set_num_generated_tokens(2);
    AddTxBytes(reply->ByteSizeLong() + hint_claimed_surplus, context);
    return grpc::Status::OK;
  }
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Share(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* bytes) override {
    v1::ShareRequest request;
    EXPECT_TRUE(ParseMessage(*bytes, &request).ok());
    ShareScript script{.messages = TrueMessages(request)};
    std::lock_guard lock(mutex_);
    shares_.push_back(request);
    if (behaviour_) script = behaviour_(std::move(script));
    return new Reactor(context, std::move(script));
  }

  // What an honest sharer writes for `request`.
  std::vector<std::string> TrueMessages(const v1::ShareRequest& request) {
    absl::StatusOr<ShareJob> job = MakeShareJob(model_, {}, request, kChunkBytes);
    EXPECT_TRUE(job.ok()) << job.status();
    std::promise<absl::StatusOr<SharedCache>> shared;
    job->finish = [&](absl::StatusOr<SharedCache> cache) { shared.set_value(std::move(cache)); };
    EXPECT_TRUE(engine_.Submit(*std::move(job)).ok());
    return shared.get_future().get().value().messages;
  }

 private:
  static constexpr uint32_t kChunkBytes = 4096;  // several messages a question

  class Reactor : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
   public:
    Reactor(grpc::CallbackServerContext* context, ShareScript script)
        : context_(context), script_(std::move(script)) {
      Advance();
    }
    void OnWriteDone(bool ok) override { ok ? Advance() : Finish(grpc::Status::CANCELLED); }
    void OnCancel() override {
      if (script_.end == ShareScript::End::kNever) Finish(grpc::Status::CANCELLED);
    }
    void OnDone() override { delete this; }

   private:
    void Advance() {
      if (next_ < script_.messages.size()) {
        written_ += script_.messages[next_].size();
        message_ = ToByteBuffer(script_.messages[next_++]);
        return StartWrite(&message_);
      }
      if (script_.end == ShareScript::End::kNever) return;
      AddTxBytes(script_.claimed_bytes.value_or(written_), context_);
      Finish(ToGrpcStatus(script_.status));
    }

    grpc::CallbackServerContext* const context_;
    const ShareScript script_;
    size_t next_ = 0;
    uint64_t written_ = 0;
    grpc::ByteBuffer message_;
  };

  const std::string address_;
  const LanguageModel& model_;
  Metrics registry_;
  Qc2cMetrics metrics_{registry_};
  ShareEngine engine_{model_, metrics_, {.max_wait = std::chrono::microseconds(0)}};
  mutable std::mutex mutex_;
  ShareBehaviour behaviour_;
  std::vector<v1::ShareRequest> shares_;
  std::vector<v1::GenerateRequest> generates_;
  std::unique_ptr<ServerHost> host_;  // first to go: it waits for the open calls
};

}  // namespace qc2c
