#include "receiver/service.h"

#include <utility>

#include "common/rpc/status.h"
#include "common/serving/request_record.h"
#include "receiver/answer_stream.h"

namespace qc2c {
namespace {

// Without what only a receiver needs to know of its sharers.
v1::ReceiverCard::Sharer CardOf(const ConnectedSharer& sharer) {
  v1::ReceiverCard::Sharer described;
  described.set_address(sharer.link().address());
  v1::ModelCard& card = *described.mutable_card();
  card = sharer.card();
  card.clear_tokenizer_json();
  card.clear_tokenizer_config_json();
  card.clear_special_tokens_map_json();
  card.clear_chat_template_jinja();
  card.clear_biases();
  described.set_alignment(std::string(AlignmentStrategyName(sharer.pairing().strategy())));
  if (const Fuser* const fuser = sharer.fuser()) {
    described.set_fuser_fingerprint(fuser->fingerprint());
    for (const int32_t layer : fuser->config().layer_map) described.add_layer_map(layer);
  }
  return described;
}

}  // namespace

ReceiverService::ReceiverService(const AnswerParts& parts, const BatchLimits& limits,
                                 int num_workers)
    : parts_(parts), engine_(parts, limits, num_workers) {}

void ReceiverService::StopAdmitting() { engine_.StopAdmitting(); }

grpc::ServerUnaryReactor* ReceiverService::Describe(grpc::CallbackServerContext* context,
                                                    const v1::DescribeRequest*,
                                                    v1::ReceiverCard* card) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  RequestRecord record(parts_.metrics, "Describe");
  *card->mutable_receiver() = parts_.language_model.Card();
  card->mutable_receiver()->clear_biases();
  for (const ConnectedSharer& sharer : parts_.sharers) {
    *card->add_sharers() = CardOf(sharer);
  }
  const v1::ReceiverCard::Sharer& first = card->sharers(0);
  *card->mutable_sharer() = first.card();
  card->set_fuser_fingerprint(first.fuser_fingerprint());
  *card->mutable_layer_map() = first.layer_map();
  card->set_alignment(first.alignment());
  card->set_combine(parts_.order == FusionOrder::kSequential ? v1::COMBINE_SEQUENTIAL
                                                             : v1::COMBINE_PARALLEL);
  record.Finish(absl::OkStatus());
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerUnaryReactor* ReceiverService::Answer(grpc::CallbackServerContext* context,
                                                  const v1::AnswerRequest* request,
                                                  v1::AnswerReply* reply) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  auto record = std::make_shared<RequestRecord>(parts_.metrics, "Answer");
  record->Note("question_id", request->question_id());
  record->Note("mode", v1::Mode_Name(request->mode()));
  AnswerJob job;
  job.request = *request;
  job.cancelled = [context] { return context->IsCancelled(); };
  job.finish = [record, reply, reactor](absl::StatusOr<v1::AnswerReply> answer) {
    const absl::Status status = answer.status();
    record->Finish(status);
    if (status.ok()) *reply = *std::move(answer);
    reactor->Finish(ToGrpcStatus(status));
  };
  auto finish = job.finish;
  const absl::Status status = engine_.Submit(std::move(job));
  if (!status.ok()) {
    parts_.metrics.rejected_total.With(absl::StatusCodeToString(status.code())).Increment();
    finish(status);
  }
  return reactor;
}

grpc::ServerBidiReactor<v1::AnswerRequest, v1::AnswerReply>* ReceiverService::AnswerBatch(
    grpc::CallbackServerContext*) {
  return new AnswerStream(engine_, parts_.metrics);
}

grpc::ServerUnaryReactor* ReceiverService::ReportScores(grpc::CallbackServerContext* context,
                                                        const v1::ScoreReport* request,
                                                        v1::ScoreReceipt*) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  RequestRecord record(parts_.metrics, "ReportScores");
  for (const v1::ScoreReport::Total& total : request->totals()) {
    const auto count = [&](CounterFamily<3>& family, uint64_t value) {
      family.With(total.dataset(), total.mode(), total.codec())
          .Increment(static_cast<double>(value));
    };
    count(parts_.metrics.questions_total, total.questions());
    count(parts_.metrics.correct_total, total.correct());
  }
  record.Finish(absl::OkStatus());
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

}  // namespace qc2c
