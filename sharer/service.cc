#include "sharer/service.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/selection.h"
#include "common/rpc/byte_buffer.h"
#include "common/rpc/metadata.h"
#include "common/rpc/request_limits.h"
#include "common/rpc/status.h"
#include "common/serving/request_record.h"
#include "common/text/text_files.h"
#include "common/wire/peer_codecs.h"

namespace qc2c {
namespace {

// What Generate's text is called where caches are counted by codec.
constexpr char kTextCodec[] = "text";

PartBytes Parts(const WireBytes& bytes) {
  return {bytes.payload, bytes.scales, bytes.indices, bytes.header};
}

void DescribeReceiver(const HeldReceiver& receiver, v1::ModelCard& card) {
  for (const Selection selection : kAllSelections) {
    if (NeedsReceiver(selection)) card.add_selections(static_cast<v1::Selection>(selection));
  }
  v1::HeldReceiver& held = *card.mutable_held_receiver();
  held.set_model_fingerprint(receiver.model.fingerprint());
  held.set_fuser_fingerprint(receiver.fuser.fingerprint());
  held.set_bytes(receiver.bytes);
}

}  // namespace

// What is remembered of a Share call until its last byte is written.
class SharerService::ShareRecord {
 public:
  // What the call holds counts in `unsent_bytes`, which outlives it.
  ShareRecord(Qc2cMetrics& metrics, std::atomic<uint64_t>& unsent_bytes)
      : request(metrics, "Share"), unsent_bytes_(unsent_bytes) {}

  // A cancelled call may end while its worker still counts: hence the lock.
  void SetMessages(std::vector<WireBytes> messages) {
    std::lock_guard lock(mutex_);
    messages_ = std::move(messages);
    if (is_over_) return;
    for (const WireBytes& message : messages_) held_bytes_ += message.tx;
    unsent_bytes_ += held_bytes_;
  }
  void End() {
    std::lock_guard lock(mutex_);
    is_over_ = true;
    unsent_bytes_ -= std::exchange(held_bytes_, 0);
  }
  WireBytes FirstMessages(uint64_t count) const {
    std::lock_guard lock(mutex_);
    WireBytes sum;
    for (size_t i = 0; i < std::min<size_t>(count, messages_.size()); ++i) sum += messages_[i];
    return sum;
  }

  RequestRecord request;
  std::string codec;

 private:
  mutable std::mutex mutex_;
  std::vector<WireBytes> messages_;  // of each message that was handed to the stream
  std::atomic<uint64_t>& unsent_bytes_;
  uint64_t held_bytes_ = 0;
  bool is_over_ = false;
};

// A Generate call; gRPC keeps all four until the reactor is finished.
struct SharerService::GenerateCall {
  grpc::CallbackServerContext* context;
  const v1::GenerateRequest* request;
  v1::GenerateReply* reply;
  grpc::ServerUnaryReactor* reactor;
  std::shared_ptr<RequestRecord> record;
};

SharerService::SharerService(const LanguageModel& language_model, Qc2cMetrics& metrics,
                             const BatchLimits& limits, uint32_t chunk_bytes,
                             CodecHoldings holdings, uint64_t max_unsent_bytes)
    : language_model_(language_model),
      metrics_(metrics),
      chunk_bytes_(chunk_bytes),
      files_{std::move(holdings.weights), std::move(holdings.codebooks),
             std::move(holdings.receiver)},
      max_unsent_bytes_(max_unsent_bytes),
      share_engine_(language_model, metrics, limits, std::move(holdings.calibrations)),
      text_generator_(language_model, limits) {}

void SharerService::StopAdmitting() {
  share_engine_.StopAdmitting();
  text_generator_.StopAdmitting();
}

grpc::ServerUnaryReactor* SharerService::Describe(grpc::CallbackServerContext* context,
                                                  const v1::DescribeRequest* request,
                                                  v1::ModelCard* card) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  RequestRecord record(metrics_, "Describe");
  *card = language_model_.Card();
  DescribeCodecs(*card);
  for (const ChannelMeans& means : share_engine_.facts().calibrations) {
    card->add_calibrations(means.id);
  }
  for (const uint64_t id : files_.codebooks.ids()) card->add_codebooks(id);
  if (files_.receiver != nullptr) DescribeReceiver(*files_.receiver, *card);
  absl::Status status;
  if (request->with_tokenizer()) {
    absl::StatusOr<TextFiles> files = TextFiles::Load(language_model_.folder);
    status = files.status();
    if (files.ok()) {
      card->set_tokenizer_json(std::move(files->tokenizer_json));
      card->set_tokenizer_config_json(std::move(files->tokenizer_config_json));
      card->set_special_tokens_map_json(std::move(files->special_tokens_map_json));
      card->set_chat_template_jinja(std::move(files->chat_template_jinja));
    }
  }
  record.Finish(status);
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* SharerService::Share(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  auto record = std::make_shared<ShareRecord>(metrics_, unsent_bytes_);
  auto writer = RawStreamWriter::Create(
      context,
      {.on_cancel = {}, .on_done = [this, record](const RawStreamWriter::Summary& summary) {
         record->End();
         const WireBytes written = record->FirstMessages(summary.written_messages);
         if (written.tx > 0) {
           CountBytes(metrics_.tx_bytes_total, record->codec, Parts(written));
         }
         record->request.Note("bytes_tx", summary.written_bytes);
         record->request.Finish(summary.status);
       }});
  const absl::Status status = StartShare(*request, record, writer);
  if (!status.ok()) {
    metrics_.rejected_total.With(absl::StatusCodeToString(status.code())).Increment();
    writer->Finish(status);
  }
  return writer->reactor();
}

absl::Status SharerService::StartShare(const grpc::ByteBuffer& request,
                                       const std::shared_ptr<ShareRecord>& record,
                                       const std::shared_ptr<RawStreamWriter>& writer) {
  if (const uint64_t unsent = unsent_bytes_; unsent >= max_unsent_bytes_) {
    return absl::ResourceExhaustedError(absl::StrCat("encoded caches of ", unsent,
                                                     " bytes wait for their readers: expected "
                                                     "less than ",
                                                     max_unsent_bytes_));
  }
  v1::ShareRequest share;
  RETURN_IF_ERROR(ParseMessage(request, &share));
  ASSIGN_OR_RETURN(ShareJob job, MakeShareJob(language_model_, files_, share, chunk_bytes_));
  record->codec = job.codec.ToString();
  record->request.Note("question_id", share.question_id());
  record->request.Note("codec", record->codec);
  record->request.Note("tokens", share.ids_size());
  if (!share.tokens().empty()) record->request.Note("wanted_tokens", share.tokens_size());
  job.cancelled = [writer] { return writer->cancelled(); };
  job.finish = [writer, record](absl::StatusOr<SharedCache> shared) {
    if (!shared.ok()) return writer->Finish(shared.status());
    std::vector<WireBytes> counts;
    for (const std::string& message : shared->messages) {
      absl::StatusOr<WireBytes> bytes = CountMessage(message);
      if (!bytes.ok()) return writer->Finish(absl::InternalError(bytes.status().message()));
      counts.push_back(*bytes);
    }
    record->SetMessages(std::move(counts));
    writer->Send(std::move(shared->messages));
    writer->Finish(absl::OkStatus(), shared->times);
  };
  return share_engine_.Submit(std::move(job));
}

grpc::ServerUnaryReactor* SharerService::Generate(grpc::CallbackServerContext* context,
                                                  const v1::GenerateRequest* request,
                                                  v1::GenerateReply* reply) {
  const GenerateCall call{context, request, reply, context->DefaultReactor(),
                          std::make_shared<RequestRecord>(metrics_, "Generate")};
  const absl::Status status = StartGenerate(call);
  if (!status.ok()) {
    metrics_.rejected_total.With(absl::StatusCodeToString(status.code())).Increment();
    FinishGenerate(call, status);
  }
  return call.reactor;
}

absl::Status SharerService::StartGenerate(const GenerateCall& call) {
  const uint32_t max_new_tokens = call.request->max_new_tokens();
  if (max_new_tokens < 1 || max_new_tokens > kMaxNewTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_new_tokens is ", max_new_tokens, ": expected 1 to ", kMaxNewTokens));
  }
  call.record->Note("question_id", call.request->question_id());
  GenerateJob job;
  ASSIGN_OR_RETURN(job.ids, language_model_.Tokenize(call.request->prompt(), max_new_tokens));
  job.max_new_tokens = static_cast<int32_t>(max_new_tokens);
  job.cancelled = [call] { return call.context->IsCancelled(); };
  job.finish = [this, call](const absl::StatusOr<GeneratedText>& text) {
    FinishGenerate(call, text);
  };
  return text_generator_.Submit(std::move(job));
}

void SharerService::FinishGenerate(const GenerateCall& call,
                                   const absl::StatusOr<GeneratedText>& text) {
  if (text.ok()) {
    call.reply->set_text(text->text);
    call.reply->set_num_prompt_tokens(static_cast<uint32_t>(text->num_prompt_tokens));
    call.reply->set_num_generated_tokens(static_cast<uint32_t>(text->num_generated_tokens));
    const uint64_t tx = call.reply->ByteSizeLong();
    v1::StageTimes times;
    times.set_queue_us(text->queue_us);
    times.set_generate_us(text->generate_us);
    AddTxBytes(tx, call.context);
    AddStageTimes(times, call.context);
    CountBytes(metrics_.tx_bytes_total, kTextCodec,
               {.payload = text->text.size(), .header = tx - text->text.size()});
    metrics_.ObserveStage(Stage::kGenerate, text->generate_us);
    call.record->Note("bytes_tx", tx);
  }
  call.record->Finish(text.status());
  call.reactor->Finish(ToGrpcStatus(text.status()));
}

}  // namespace qc2c
