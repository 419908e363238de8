#include "receiver/sharer_link.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/status_macros.h"
#include "common/rpc/channel.h"
#include "common/rpc/metadata.h"
#include "common/rpc/share_call.h"
#include "common/rpc/status.h"
#include "common/serving/job.h"
#include "common/wire/model_facts.h"
#include "common/wire/peer_codecs.h"
#include "qc2c/v1/sharer.grpc.pb.h"

namespace qc2c {
namespace {

// A model card may carry a tokenizer.json, which has 34 MB for a vocabulary of 262,144.
constexpr size_t kMaxCardBytes = size_t{64} << 20;

absl::Status CheckCounts(const absl::StatusOr<uint64_t>& sharer_count, uint64_t receiver_count) {
  if (!sharer_count.ok()) return sharer_count.status();
  if (*sharer_count == receiver_count) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("bytes_tx: the sharer counted ", *sharer_count,
                                          " serialized bytes, ", receiver_count, " arrived"));
}

// The part of a call that the sharer does not account for.
uint64_t TransferUs(Clock::time_point start, const v1::StageTimes& sharer) {
  const uint64_t total = MicrosecondsSince(start);
  const uint64_t accounted =
      sharer.queue_us() + sharer.sharer_prefill_us() + sharer.encode_us() + sharer.generate_us();
  return total > accounted ? total - accounted : 0;
}

class GrpcSharerLink final : public SharerLink {
 public:
  GrpcSharerLink(SharerLinkOptions options, std::shared_ptr<grpc::Channel> channel)
      : options_(std::move(options)),
        channel_(std::move(channel)),
        stub_(v1::Sharer::NewStub(channel_)) {}

  absl::Status Describe() {
    v1::DescribeRequest request;
    RETURN_IF_ERROR(Describe(request));
    if (card_.tokenizer_hash() == options_.known_tokenizer) return absl::OkStatus();
    request.set_with_tokenizer(true);
    return Describe(request);
  }

  const std::string& address() const override { return options_.address; }
  const v1::ModelCard& card() const override { return card_; }
  const ModelFacts& facts() const override { return facts_; }

  std::unique_ptr<PendingCall<SharedMessages>> Share(const v1::ShareRequest& request,
                                                     uint64_t max_bytes) override {
    struct State {
      SharedMessages shared;
      std::promise<absl::StatusOr<SharedMessages>> promise;
      Clock::time_point start = Clock::now();
    };
    auto state = std::make_shared<State>();
    auto future = state->promise.get_future();
    std::shared_ptr<ShareCall> call = ShareCall::Start(
        channel_, request,
        {.timeout = absl::FromChrono(options_.timeout),
         .max_bytes = max_bytes,
         .on_message =
             [state](std::string message) { state->shared.messages.push_back(std::move(message)); },
         .on_done =
             [address = options_.address, state](const ShareOutcome& outcome) {
               absl::Status status = outcome.status;
               status.Update(CheckCounts(outcome.tx_bytes, outcome.rx_bytes));
               if (!status.ok()) return state->promise.set_value(NamedSharer(address, status));
               state->shared.sharer_times = outcome.sharer_times;
               state->shared.transfer_us = TransferUs(state->start, outcome.sharer_times);
               state->promise.set_value(std::move(state->shared));
             }});
    return std::make_unique<PendingCall<SharedMessages>>(std::move(future),
                                                         [call] { call->Cancel(); });
  }

  std::unique_ptr<PendingCall<SharedText>> Generate(const v1::GenerateRequest& request) override {
    struct State {
      grpc::ClientContext context;
      v1::GenerateRequest request;
      SharedText shared;
      std::promise<absl::StatusOr<SharedText>> promise;
      Clock::time_point start = Clock::now();
    };
    auto state = std::make_shared<State>();
    state->request = request;
    SetTimeout(absl::FromChrono(options_.timeout), &state->context);
    auto future = state->promise.get_future();
    stub_->async()->Generate(
        &state->context, &state->request, &state->shared.reply,
        [address = options_.address, state](const grpc::Status& grpc_status) {
          absl::Status status = FromGrpcStatus(grpc_status);
          state->shared.serialized_bytes = state->shared.reply.ByteSizeLong();
          if (status.ok()) {
            status = CheckCounts(GetTxBytes(state->context), state->shared.serialized_bytes);
          }
          if (!status.ok()) return state->promise.set_value(NamedSharer(address, status));
          absl::StatusOr<v1::StageTimes> times = GetStageTimes(state->context);
          if (times.ok()) state->shared.sharer_times = *std::move(times);
          state->shared.transfer_us = TransferUs(state->start, state->shared.sharer_times);
          state->promise.set_value(std::move(state->shared));
        });
    return std::make_unique<PendingCall<SharedText>>(std::move(future),
                                                     [state] { state->context.TryCancel(); });
  }

 private:
  absl::Status Describe(const v1::DescribeRequest& request) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    SetTimeout(absl::FromChrono(options_.patience), &context);
    absl::Status status = FromGrpcStatus(stub_->Describe(&context, request, &card_));
    if (absl::IsDeadlineExceeded(status)) {
      status = absl::UnavailableError(absl::StrCat(
          "no answer within ", absl::FormatDuration(absl::FromChrono(options_.patience))));
    }
    if (status.ok()) status = CheckFormatVersion(card_);
    if (status.ok()) status = ReadFacts();
    return NamedSharer(options_.address, status);
  }

  absl::Status ReadFacts() {
    ASSIGN_OR_RETURN(facts_, FactsOfCard(card_));
    return absl::OkStatus();
  }

  const SharerLinkOptions options_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Sharer::Stub> stub_;
  v1::ModelCard card_;
  ModelFacts facts_;
};

}  // namespace

absl::Status NamedSharer(const std::string& address, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat("sharer ", address, ": ", std::string(status.message())));
}

absl::StatusOr<std::unique_ptr<SharerLink>> SharerLink::Connect(const SharerLinkOptions& options) {
  ASSIGN_OR_RETURN(const Address address, ParseAddress(options.address));
  ASSIGN_OR_RETURN(std::shared_ptr<grpc::Channel> channel,
                   CreateChannel(address, {.max_receive_message_bytes = kMaxCardBytes,
                                           .access = options.access}));
  auto link = std::make_unique<GrpcSharerLink>(options, std::move(channel));
  RETURN_IF_ERROR(link->Describe());
  return link;
}

}  // namespace qc2c
