// What a batch asks of the sharers and how it takes their caches.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/codec/selection.h"
#include "common/wire/byte_counts.h"
#include "common/wire/peer_codecs.h"
#include "receiver/answer_batch.h"
#include "receiver/received_bytes.h"

namespace qc2c {
namespace {

uint64_t RawBytes(const KvFrame& frame, const v1::ModelCard& sharer) {
  const uint64_t value_bytes = sharer.dtype() == "bf16" ? 2 : 4;
  return uint64_t{frame.layers.NumTensors()} * frame.layout.num_kv_heads * frame.layout.head_dim *
         frame.num_tokens * value_bytes;
}

// The codebook of a klt codec; fills in an id that the codec leaves open.
absl::StatusOr<const KltCodebook*> ChooseCodebook(const ConnectedSharer& sharer,
                                                  const KvLayerSet& layers, CodecSpec& codec) {
  const KltCodebooks& codebooks = sharer.codebooks();
  if (codec.klt->codebook == 0) {
    const std::vector<uint64_t> ids = codebooks.ids();
    if (ids.size() != 1) {
      return absl::FailedPreconditionError(absl::StrCat(
          "codec: klt names no codebook: this receiver has ", ids.size(), ", expected one"));
    }
    codec.klt->codebook = ids.front();
  }
  ASSIGN_OR_RETURN(const KltCodebook* codebook, codebooks.Get(*codec.klt));
  if (codebook->layers != layers) {
    return absl::FailedPreconditionError(
        "codec: klt is for the open gates of a fuser: expected mode MODE_FUSED");
  }
  return codebook;
}

// Makes a klt codec what is asked of the sharer: itself where the prompt fits the codebook, which
// is returned, else its fallback, which `fallback` gets with the reason.
absl::StatusOr<const KltCodebook*> FitCodebook(const KltCodebook& codebook,
                                               const SharerReading& reading, CodecSpec& codec,
                                               std::string& fallback) {
  const std::vector<uint32_t> wanted = reading.WantedIndices();
  const absl::Status fits =
      reading.positions.empty()
          ? codebook.prompt_template.Match({reading.ids, wanted})
          : absl::InvalidArgumentError(
                "codec: klt is for ids one after another: the alignment leaves positions out");
  const std::optional<Scheme> other = std::exchange(codec.klt->fallback, std::nullopt);
  if (fits.ok()) return &codebook;
  if (!other) return fits;
  ASSIGN_OR_RETURN(codec, CodecSpec::Parse(SchemeName(*other)));
  fallback = absl::StrCat(codec.ToString(), ": ", std::string(fits.message()));
  return nullptr;
}

// What the cache of `reading` must be.
absl::StatusOr<FrameExpectation> ExpectationOf(const ConnectedSharer& sharer,
                                               const KvLayerSet& layers,
                                               const SharerReading& reading,
                                               const v1::Codec& requested, std::string& fallback) {
  const v1::ModelCard& card = sharer.card();
  ASSIGN_OR_RETURN(CodecSpec codec, CodecFromProto(requested));
  ASSIGN_OR_RETURN(const KvLayout layout, LayoutFromProto(card.layout()));
  const KltCodebook* codebook = nullptr;
  if (codec.klt) {
    ASSIGN_OR_RETURN(codebook, ChooseCodebook(sharer, layers, codec));
    ASSIGN_OR_RETURN(codebook, FitCodebook(*codebook, reading, codec, fallback));
  }
  RETURN_IF_ERROR(CheckSharerKnows(card, codec));
  return FrameExpectation{card.model_fingerprint(), layout, codec,
                          reading.num_wanted(),     layers, codebook};
}

}  // namespace

void AnswerBatch::AskSharers() {
  for (auto& question : questions_) {
    if (question->job.cancelled && question->job.cancelled()) {
      Fail(*question, absl::CancelledError("the caller went away"));
      continue;
    }
    switch (question->request().mode()) {
      case v1::MODE_FUSED:
      case v1::MODE_PREFIX:
        StartShares(*question);
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

void AnswerBatch::StartShares(AnswerState& question) {
  question.shares.reserve(question.job.asked.size());
  for (const AskedSharer& asked : question.job.asked) {
    CacheShare share{.sharer = *asked.sharer, .reading = asked.reading};
    share.got.set_sharer(static_cast<uint32_t>(asked.sharer - parts_.sharers.data()));
    question.shares.push_back(std::move(share));
  }
  for (CacheShare& share : question.shares) {
    const absl::Status status = StartShare(question.request(), share);
    if (!status.ok()) {
      parts_.metrics.rejected_total.With(absl::StatusCodeToString(status.code())).Increment();
      return Fail(question, share.sharer.Named(status));
    }
    if (share.codec_fallback.empty()) continue;
    const absl::StatusOr<CodecSpec> asked = CodecFromProto(question.request().codec());
    if (asked.ok()) parts_.metrics.codec_fallbacks_total.With(asked->ToString()).Increment();
    const std::string& before = question.reply.codec_fallback();
    question.reply.set_codec_fallback(
        absl::StrCat(before, before.empty() ? "" : "; ", share.codec_fallback));
  }
}

absl::Status AnswerBatch::CheckHeldReceiver(const v1::AnswerRequest& request,
                                            const CacheShare& share) const {
  const std::string select = absl::StrCat(
      "codec: select is ", std::string(SelectionName(share.expectation.codec.selection)));
  if (request.mode() != v1::MODE_FUSED) {
    return absl::FailedPreconditionError(
        absl::StrCat(select, ", which asks a fuser: expected mode MODE_FUSED"));
  }
  const v1::HeldReceiver& held = share.sharer.card().held_receiver();
  const uint64_t model = parts_.language_model.model.fingerprint();
  const uint64_t fuser = share.sharer.fuser()->fingerprint();
  if (held.model_fingerprint() == model && held.fuser_fingerprint() == fuser) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat(select, ": the sharer holds receiver ", HashText(held.model_fingerprint()),
                   " and fuser ", HashText(held.fuser_fingerprint()), ": expected this receiver's ",
                   HashText(model), " and ", HashText(fuser)));
}

absl::Status AnswerBatch::StartShare(const v1::AnswerRequest& request, CacheShare& share) const {
  const ConnectedSharer& sharer = share.sharer;
  const SharerReading& reading = share.reading;
  const KvLayerSet& layers =
      request.mode() == v1::MODE_FUSED ? sharer.fused_layers() : sharer.all_layers();
  if (layers.NumTensors() == 0) {
    return absl::FailedPreconditionError(
        "mode is MODE_FUSED: every gate of the fuser is closed, so fusion would change nothing; "
        "expected at least one open gate");
  }
  if (request.control() == v1::CONTROL_ZERO_CACHE) {
    share.source = CacheShare::Source::kZeros;
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(share.expectation,
                   ExpectationOf(sharer, layers, reading, request.codec(), share.codec_fallback));
  share.expectation.keep_coded = parts_.language_model.model.options().device.is_cuda();
  if (NeedsReceiver(share.expectation.codec.selection)) {
    RETURN_IF_ERROR(CheckHeldReceiver(request, share));
  }
  v1::ShareRequest message;
  message.mutable_ids()->Assign(reading.ids.begin(), reading.ids.end());
  message.mutable_tokens()->Assign(reading.tokens.begin(), reading.tokens.end());
  message.mutable_positions()->Assign(reading.positions.begin(), reading.positions.end());
  *message.mutable_codec() = CodecToProto(share.expectation.codec);
  message.mutable_key_layers()->Assign(layers.keys.begin(), layers.keys.end());
  message.mutable_value_layers()->Assign(layers.values.begin(), layers.values.end());
  message.set_model_fingerprint(sharer.card().model_fingerprint());
  message.set_question_id(request.question_id());
  share.source = CacheShare::Source::kSharer;
  share.call = sharer.link().Share(message, MostBytes(share.expectation));
  return absl::OkStatus();
}

void AnswerBatch::TakeCaches() {
  for (AnswerState* question : rows_) {
    // Also what comes for a question that another sharer has failed: its bytes have crossed.
    for (CacheShare& share : question->shares) {
      if (share.source == CacheShare::Source::kSharer) TakeCache(*question, share);
    }
  }
  DropEndedRows();
}

void AnswerBatch::TakeCache(AnswerState& question, CacheShare& share) {
  const absl::StatusOr<SharedMessages> shared = share.call->Wait(question.job.cancelled);
  absl::Status status = shared.status();  // names the sharer
  if (status.ok()) status = share.sharer.Named(ReadShare(*shared, share));
  if (status.ok()) {
    if (question.request().mode() != v1::MODE_PREFIX) return;
    if (share.frame->layers == share.expectation.layers) return;
    return Fail(question,
                absl::FailedPreconditionError(
                    "mode is MODE_PREFIX, which needs the whole cache: the codec's budget "
                    "leaves tensors out; expected more budget_bytes"));
  }
  share.source = CacheShare::Source::kNone;
  GoesOnWithout(question, status);
}

absl::Status AnswerBatch::ReadShare(const SharedMessages& shared, CacheShare& share) const {
  const Clock::time_point start = Clock::now();
  const std::string codec = share.expectation.codec.ToString();
  Qc2cMetrics& metrics = parts_.metrics;
  WireBytes counted;
  absl::StatusOr<ReceivedFrame> received = ReadFrame(shared, share.expectation, counted);
  CountReceived(metrics, share.sharer.link().address(), codec, counted);
  RETURN_IF_ERROR(received.status());
  share.frame = std::move(received->frame);
  const KvFrame& frame = *share.frame;

  v1::AnswerReply::FromSharer& got = share.got;
  *got.mutable_bytes() = ByteCountsOf(received->bytes);
  got.mutable_bytes()->set_formula(FormulaBytes(frame));
  got.mutable_bytes()->set_raw(RawBytes(frame, share.sharer.card()));
  got.set_num_kept_tokens(frame.num_kept());
  v1::StageTimes& times = *got.mutable_times();
  times.set_sharer_prefill_us(shared.sharer_times.sharer_prefill_us());
  times.set_encode_us(shared.sharer_times.encode_us());
  times.set_transfer_us(shared.transfer_us);
  times.set_decode_cache_us(MicrosecondsSince(start));
  metrics.raw_bytes_total.With(codec).Increment(static_cast<double>(got.bytes().raw()));
  metrics.CountTokens(codec, frame.num_kept(), frame.num_tokens - frame.num_kept());
  metrics.layers_skipped_total.Increment(
      static_cast<double>(frame.layout.num_layers - frame.layers.NumLayers()));
  metrics.ObserveStage(Stage::kTransfer, shared.transfer_us);
  return absl::OkStatus();
}

bool AnswerBatch::GoesOnWithout(AnswerState& question, const absl::Status& status) {
  if (!question.open()) return false;
  const v1::Mode mode = question.request().mode();
  const bool can_go_on = mode == v1::MODE_FUSED || mode == v1::MODE_TEXT || mode == v1::MODE_PREFIX;
  const std::string code = absl::StatusCodeToString(status.code());
  if (status.code() == absl::StatusCode::kCancelled || !can_go_on ||
      question.request().fallback() != v1::FALLBACK_DEGRADED) {
    parts_.metrics.rejected_total.With(code).Increment();
    Fail(question, status);
    return false;
  }
  parts_.metrics.degraded_total.With(code).Increment();
  std::string& why = *question.reply.mutable_degraded();
  absl::StrAppend(&why, why.empty() ? "" : "; ", code, ": ", std::string(status.message()));
  return true;
}

}  // namespace qc2c
