// What a batch asks of the sharer and how it takes the answers.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/status_macros.h"
#include "common/wire/peer_codecs.h"
#include "receiver/answer_batch.h"
#include "receiver/answer_request.h"

namespace qc2c {
namespace {

uint64_t RawBytes(const KvFrame& frame, const v1::ModelCard& sharer) {
  const uint64_t value_bytes = sharer.dtype() == "bf16" ? 2 : 4;
  return uint64_t{frame.layers.NumTensors()} * frame.layout.num_kv_heads * frame.layout.head_dim *
         frame.num_tokens * value_bytes;
}

v1::ByteCounts ToProto(const WireBytes& bytes) {
  v1::ByteCounts proto;
  proto.set_tx(bytes.tx);
  proto.set_payload(bytes.payload);
  proto.set_scales(bytes.scales);
  proto.set_indices(bytes.indices);
  proto.set_header(bytes.header);
  proto.set_grpc(bytes.grpc());
  proto.set_messages(bytes.messages);
  return proto;
}

PartBytes Parts(const WireBytes& bytes) {
  return {bytes.payload, bytes.scales, bytes.indices, bytes.header};
}

}  // namespace

void AnswerBatch::AskSharer() {
  for (auto& question : questions_) {
    if (question->job.cancelled && question->job.cancelled()) {
      Fail(*question, absl::CancelledError("the caller went away"));
      continue;
    }
    switch (question->request().mode()) {
      case v1::MODE_FUSED:
      case v1::MODE_PREFIX:
        StartShare(*question);
        break;
      case v1::MODE_TEXT:
      case v1::MODE_SHARER:
      case v1::MODE_TEXT_ANSWER:
        StartGenerate(*question);
        break;
      default:
        break;  // the receiver alone
    }
  }
}

void AnswerBatch::StartShare(AnswerState& question) {
  const v1::AnswerRequest& request = question.request();
  if (layers_.NumTensors() == 0) {
    return Fail(question, absl::FailedPreconditionError(
                              "mode is MODE_FUSED: every gate of the fuser is closed, so fusion "
                              "would change nothing; expected at least one open gate"));
  }
  if (request.control() == v1::CONTROL_ZERO_CACHE) {
    question.cache_source = AnswerState::Source::kZeros;
    return;
  }
  const SharerReading& reading = question.job.reading;
  const v1::ModelCard& sharer = parts_.sharer.card();
  absl::StatusOr<CodecSpec> codec = CodecFromProto(request.codec());
  absl::StatusOr<KvLayout> layout = LayoutFromProto(sharer.layout());
  if (!codec.ok()) return Fail(question, codec.status());
  if (!layout.ok()) return Fail(question, layout.status());
  const KltCodebook* codebook = nullptr;
  if (codec->klt) {
    const absl::StatusOr<const KltCodebook*> chosen = ChooseCodebook(reading, *codec);
    if (!chosen.ok()) return Fail(question, chosen.status());
    codebook = *chosen;
  }
  if (const absl::Status known = CheckSharerKnows(sharer, *codec); !known.ok()) {
    return Fail(question, known);
  }
  question.expectation = {sharer.model_fingerprint(), *layout, *codec,
                          reading.num_wanted(),       layers_, codebook};
  v1::ShareRequest share;
  share.mutable_ids()->Assign(reading.ids.begin(), reading.ids.end());
  share.mutable_tokens()->Assign(reading.tokens.begin(), reading.tokens.end());
  *share.mutable_codec() = CodecToProto(*codec);
  share.mutable_key_layers()->Assign(layers_.keys.begin(), layers_.keys.end());
  share.mutable_value_layers()->Assign(layers_.values.begin(), layers_.values.end());
  share.set_model_fingerprint(sharer.model_fingerprint());
  share.set_question_id(request.question_id());
  question.cache_source = AnswerState::Source::kSharer;
  question.share = parts_.sharer.Share(share);
}

absl::StatusOr<const KltCodebook*> AnswerBatch::ChooseCodebook(const SharerReading& reading,
                                                               CodecSpec& codec) const {
  static const KltCodebooks kNone;
  const KltCodebooks& codebooks = parts_.codebooks == nullptr ? kNone : *parts_.codebooks;
  if (codec.klt->codebook == 0) {
    const std::vector<uint64_t> ids = codebooks.ids();
    if (ids.size() != 1) {
      return absl::FailedPreconditionError(absl::StrCat(
          "codec: klt names no codebook: this receiver has ", ids.size(), ", expected one"));
    }
    codec.klt->codebook = ids.front();
  }
  ASSIGN_OR_RETURN(const KltCodebook* codebook, codebooks.Get(*codec.klt));
  if (codebook->layers != layers_) {
    return absl::FailedPreconditionError(
        "codec: klt is for the open gates of a fuser: expected mode MODE_FUSED");
  }
  const std::vector<uint32_t> positions = reading.Positions();
  RETURN_IF_ERROR(codebook->prompt_template.Match({reading.ids, positions}));
  return codebook;
}

void AnswerBatch::StartGenerate(AnswerState& question) {
  const v1::AnswerRequest& request = question.request();
  v1::GenerateRequest generate;
  *generate.mutable_prompt() =
      request.has_sharer_prompt() ? request.sharer_prompt() : request.prompt();
  generate.set_max_new_tokens(request.mode() == v1::MODE_TEXT ? request.sharer_max_new_tokens()
                                                              : request.max_new_tokens());
  generate.set_question_id(request.question_id());
  question.text = parts_.sharer.Generate(generate);
}

void AnswerBatch::TakeTexts() {
  for (auto& question : questions_) {
    if (question->open() && question->text) TakeText(*question);
  }
}

void AnswerBatch::TakeText(AnswerState& question) {
  absl::StatusOr<SharedText> shared = question.text->Wait(question.job.cancelled);
  if (!shared.ok()) return SharerFailed(question, shared.status());
  v1::AnswerReply& reply = question.reply;
  const std::string& text = shared->reply.text();
  const WireBytes bytes{.tx = shared->serialized_bytes,
                        .payload = text.size(),
                        .header = shared->serialized_bytes - text.size(),
                        .messages = 1};
  CountBytes(parts_.metrics.rx_bytes_total, "text", Parts(bytes));
  *reply.mutable_bytes() = ToProto(bytes);
  reply.set_hint(text);
  reply.mutable_times()->set_sharer_prefill_us(shared->sharer_times.generate_us());
  reply.mutable_times()->set_transfer_us(shared->transfer_us);
  parts_.metrics.ObserveStage(Stage::kTransfer, shared->transfer_us);
  if (question.request().mode() != v1::MODE_TEXT) {
    reply.set_text(text);
    reply.set_num_input_tokens(shared->reply.num_prompt_tokens());
    reply.set_num_generated_tokens(shared->reply.num_generated_tokens());
    return Succeed(question);
  }
  SetHint(question, text);
}

void AnswerBatch::SetHint(AnswerState& question, const std::string& hint) {
  v1::Prompt& prompt = *question.job.request.mutable_prompt();
  for (v1::ChatMessage& message : *prompt.mutable_messages()) {
    message.set_content(absl::StrReplaceAll(message.content(), {{kHintPlaceholder, hint}}));
  }
  prompt.set_text(absl::StrReplaceAll(prompt.text(), {{kHintPlaceholder, hint}}));
  absl::StatusOr<std::vector<int32_t>> ids =
      parts_.language_model.Tokenize(question.request().prompt(), NumNewTokens(question.request()));
  if (!ids.ok()) return Fail(question, ids.status());
  question.job.ids = *std::move(ids);
}

void AnswerBatch::TakeCaches() {
  for (AnswerState* question : rows_) {
    if (question->cache_source == AnswerState::Source::kSharer) TakeCache(*question);
  }
  DropEndedRows();
}

void AnswerBatch::TakeCache(AnswerState& question) {
  absl::StatusOr<SharedMessages> shared = question.share->Wait(question.job.cancelled);
  if (!shared.ok()) return SharerFailed(question, shared.status());
  const Clock::time_point start = Clock::now();
  const std::string codec = question.expectation.codec.ToString();
  WireBytes counted;
  absl::StatusOr<ReceivedFrame> received = ReadFrame(*shared, question.expectation, counted);
  CountBytes(parts_.metrics.rx_bytes_total, codec, Parts(counted));
  if (!received.ok()) return SharerFailed(question, received.status());
  if (question.request().mode() == v1::MODE_PREFIX && received->frame.layers != layers_) {
    return Fail(question,
                absl::FailedPreconditionError(
                    "mode is MODE_PREFIX, which needs the whole cache: the codec's budget "
                    "leaves tensors out; expected more budget_bytes"));
  }
  question.frame = std::move(received->frame);
  const KvFrame& frame = *question.frame;

  v1::AnswerReply& reply = question.reply;
  *reply.mutable_bytes() = ToProto(received->bytes);
  reply.mutable_bytes()->set_formula(FormulaBytes(frame));
  reply.mutable_bytes()->set_raw(RawBytes(frame, parts_.sharer.card()));
  reply.set_num_kept_tokens(frame.num_kept());
  v1::StageTimes& times = *reply.mutable_times();
  times.set_sharer_prefill_us(shared->sharer_times.sharer_prefill_us());
  times.set_encode_us(shared->sharer_times.encode_us());
  times.set_transfer_us(shared->transfer_us);
  times.set_decode_cache_us(MicrosecondsSince(start));
  Qc2cMetrics& metrics = parts_.metrics;
  metrics.raw_bytes_total.With(codec).Increment(static_cast<double>(reply.bytes().raw()));
  metrics.CountTokens(codec, frame.num_kept(), frame.num_tokens - frame.num_kept());
  metrics.layers_skipped_total.Increment(
      static_cast<double>(frame.layout.num_layers - frame.layers.NumLayers()));
  metrics.ObserveStage(Stage::kTransfer, shared->transfer_us);
}

void AnswerBatch::SharerFailed(AnswerState& question, const absl::Status& status) {
  const v1::Mode mode = question.request().mode();
  const bool can_go_on = mode == v1::MODE_FUSED || mode == v1::MODE_TEXT || mode == v1::MODE_PREFIX;
  const std::string code = absl::StatusCodeToString(status.code());
  if (status.code() == absl::StatusCode::kCancelled || !can_go_on ||
      question.request().fallback() != v1::FALLBACK_DEGRADED) {
    parts_.metrics.rejected_total.With(code).Increment();
    return Fail(question, status);
  }
  parts_.metrics.degraded_total.With(code).Increment();
  question.reply.set_degraded(absl::StrCat(code, ": ", std::string(status.message())));
  question.cache_source = AnswerState::Source::kNone;
  if (mode == v1::MODE_TEXT) SetHint(question, "");
}

}  // namespace qc2c
