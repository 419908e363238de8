#include "common/rpc/share_call.h"

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/client_callback.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/rpc/byte_buffer.h"
#include "common/rpc/channel.h"
#include "common/rpc/metadata.h"
#include "common/rpc/status.h"

namespace qc2c {
namespace {

constexpr char kShareMethod[] = "/qc2c.v1.Sharer/Share";

// A server stream is a bidirectional one with a single write, which is what the generic stub
// offers.
class ShareReactor : public ShareCall,
                     public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  ShareReactor(const std::shared_ptr<grpc::Channel>& channel, const v1::ShareRequest& request,
               ShareCallOptions options)
      : options_(std::move(options)),
        stub_(channel),
        request_(ToByteBuffer(request.SerializeAsString())) {
    SetTimeout(options_.timeout, &context_);
  }

  void Begin(std::shared_ptr<ShareReactor> self) {
    self_ = std::move(self);
    stub_.PrepareBidiStreamingCall(&context_, kShareMethod, grpc::StubOptions(), this);
    StartWriteLast(&request_, grpc::WriteOptions());
    StartRead(&incoming_);
    StartCall();
  }

  void Cancel() override { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (!ok) return;  // the end; OnDone says which
    try {
      const absl::Status taken = Take();
      if (taken.ok()) {
        StartRead(&incoming_);
        return;
      }
      failure_ = taken;
    } catch (...) {  // gRPC would swallow it and leave the call hanging
      failure_ = absl::InternalError("the receiver of the messages threw an exception");
    }
    context_.TryCancel();
  }

  void OnDone(const grpc::Status& status) override {
    const std::shared_ptr<ShareReactor> self = std::move(self_);
    outcome_.status = failure_.ok() ? FromGrpcStatus(status) : failure_;
    outcome_.tx_bytes = GetTxBytes(context_);
    if (auto times = GetStageTimes(context_); times.ok()) outcome_.sharer_times = *times;
    try {
      if (options_.on_done) options_.on_done(std::move(outcome_));
    } catch (...) {  // NOLINT(bugprone-empty-catch): there is nobody left to tell
    }
  }

 private:
  absl::Status Take() {
    outcome_.rx_bytes += incoming_.Length();
    ++outcome_.messages;
    if (outcome_.rx_bytes + kMessageOverhead * outcome_.messages > options_.max_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the sharer sent ", outcome_.rx_bytes, " bytes in ", outcome_.messages,
                       " messages, at most ", options_.max_bytes, " are accepted"));
    }
    auto bytes = ToBytes(incoming_);
    incoming_.Clear();
    if (!bytes.ok()) return bytes.status();
    if (options_.on_message) options_.on_message(*std::move(bytes));
    return absl::OkStatus();
  }

  const ShareCallOptions options_;
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub_;
  grpc::ClientContext context_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer incoming_;
  std::shared_ptr<ShareReactor> self_;  // until OnDone
  // Touched by one reaction at a time.
  ShareOutcome outcome_;
  absl::Status failure_;
};

}  // namespace

std::shared_ptr<ShareCall> ShareCall::Start(const std::shared_ptr<grpc::Channel>& channel,
                                            const v1::ShareRequest& request,
                                            ShareCallOptions options) {
  auto call = std::make_shared<ShareReactor>(channel, request, std::move(options));
  call->Begin(call);
  return call;
}

}  // namespace qc2c
