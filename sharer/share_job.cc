#include "sharer/share_job.h"

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/codec/selection.h"
#include "common/wire/frame_codec.h"
#include "sharer/calibrated_share.h"

namespace qc2c {
namespace {

// Whether the request's field tokens ascends and names tokens that there are.
absl::Status CheckTokens(const v1::ShareRequest& request) {
  const auto& tokens = request.tokens();
  for (int i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= static_cast<uint32_t>(request.ids_size())) {
      return absl::InvalidArgumentError(absl::StrCat("tokens[", i, "] is ", tokens[i],
                                                     ": expected 0 to ", request.ids_size() - 1));
    }
    if (i > 0 && tokens[i] <= tokens[i - 1]) {
      return absl::InvalidArgumentError(absl::StrCat("tokens[", i, "] is ", tokens[i], " after ",
                                                     tokens[i - 1], ": expected ascending tokens"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPositions(const v1::ShareRequest& request, const LanguageModel& language_model) {
  const auto& positions = request.positions();
  if (positions.empty()) return absl::OkStatus();
  if (positions.size() != request.ids_size()) {
    return absl::InvalidArgumentError(absl::StrCat("positions has ", positions.size(),
                                                   " entries: expected ", request.ids_size(),
                                                   ", one for each of ids"));
  }
  for (int i = 1; i < positions.size(); ++i) {
    if (positions[i] > positions[i - 1]) continue;
    return absl::InvalidArgumentError(absl::StrCat("positions[", i, "] is ", positions[i],
                                                   " after ", positions[i - 1],
                                                   ": expected ascending positions"));
  }
  const int32_t end = language_model.model.config().max_positions;
  const int last = positions.size() - 1;
  if (positions[last] < static_cast<uint32_t>(end)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("positions[", last, "] is ", positions[last],
                                                 ": model '", language_model.name, "' has ", end,
                                                 " positions"));
}

absl::Status CheckIds(const v1::ShareRequest& request, const LanguageModel& language_model) {
  const ModelConfig& config = language_model.model.config();
  if (request.ids().empty()) {
    return absl::InvalidArgumentError("ids is empty: expected at least one token");
  }
  if (request.ids_size() > config.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat("ids has ", request.ids_size(),
                                                   " tokens: model '", language_model.name,
                                                   "' has ", config.max_positions, " positions"));
  }
  for (int i = 0; i < request.ids_size(); ++i) {
    if (request.ids(i) >= static_cast<uint32_t>(config.vocab_size)) {
      return absl::InvalidArgumentError(
          absl::StrCat("ids[", i, "] is ", request.ids(i), ": the vocabulary of model '",
                       language_model.name, "' has ", config.vocab_size, " tokens"));
    }
  }
  return absl::OkStatus();
}

// The receiver that a selection asks. It reads the sharer's ids, which it does itself only where
// both have one tokenizer and every token is wanted.
absl::StatusOr<const HeldReceiver*> ReceiverFor(const v1::ShareRequest& request,
                                                const CodecSpec& codec, const HeldFiles& files) {
  if (!NeedsReceiver(codec.selection)) return nullptr;
  const std::string select =
      absl::StrCat("codec: select is ", std::string(SelectionName(codec.selection)));
  if (files.receiver == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        select,
        ", for which a sharer must hold the receiver and its fuser: this one was started "
        "without --receiver and --fuser"));
  }
  if (!request.positions().empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(select, ", but the receiver reads ids one after another: positions has ",
                     request.positions_size(), " entries, expected none"));
  }
  if (request.tokens().empty()) return files.receiver.get();
  return absl::FailedPreconditionError(
      absl::StrCat(select, ", but the receiver reads other tokens than the sharer: tokens has ",
                   request.tokens_size(), " of ", request.ids_size(), " ids, expected all"));
}

}  // namespace

std::vector<uint32_t> ShareJob::WantedPositions() const {
  if (positions.empty()) return {tokens.begin(), tokens.end()};
  if (tokens.empty()) return positions;
  std::vector<uint32_t> wanted;
  for (const int64_t token : tokens) wanted.push_back(positions[static_cast<size_t>(token)]);
  return wanted;
}

absl::StatusOr<ShareJob> MakeShareJob(const LanguageModel& language_model, const HeldFiles& files,
                                      const v1::ShareRequest& request,
                                      uint32_t default_chunk_bytes) {
  const uint64_t fingerprint = language_model.model.fingerprint();
  if (request.model_fingerprint() != 0 && request.model_fingerprint() != fingerprint) {
    return absl::FailedPreconditionError(
        absl::StrCat("model_fingerprint is ", absl::Hex(request.model_fingerprint()), ": model '",
                     language_model.name, "' is ", absl::Hex(fingerprint)));
  }
  RETURN_IF_ERROR(CheckIds(request, language_model));
  ShareJob job;
  ASSIGN_OR_RETURN(job.codec, CodecFromProto(request.codec()));
  if (job.codec.klt && job.codec.klt->fallback) {
    return absl::InvalidArgumentError(
        "codec: klt_fallback is the receiver's to decide: expected none in a ShareRequest");
  }
  if (job.codec.weights != 0) {
    const auto found = files.weights.find(job.codec.weights);
    if (found == files.weights.end()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "codec: weights is ", HashText(job.codec.weights), ": this sharer has ",
          files.weights.size(), " files of sensitivities (--sensitivity), not this one"));
    }
    job.weights = &found->second;
  }
  ASSIGN_OR_RETURN(job.receiver, ReceiverFor(request, job.codec, files));
  job.ids.assign(request.ids().begin(), request.ids().end());
  RETURN_IF_ERROR(CheckTokens(request));
  job.tokens.assign(request.tokens().begin(), request.tokens().end());
  RETURN_IF_ERROR(CheckPositions(request, language_model));
  job.positions.assign(request.positions().begin(), request.positions().end());
  job.layers = {.keys = {request.key_layers().begin(), request.key_layers().end()},
                .values = {request.value_layers().begin(), request.value_layers().end()}};
  RETURN_IF_ERROR(job.layers.Validate(language_model.model.config().Layout()));
  if (job.codec.klt && !job.positions.empty()) {
    return absl::InvalidArgumentError(
        "positions: a codebook of klt is for ids one after another: expected none");
  }
  if (job.codec.klt) {
    ASSIGN_OR_RETURN(job.codebook, CodebookFor(job, files.codebooks));
  }
  job.chunk_bytes = request.chunk_bytes() != 0 ? request.chunk_bytes() : default_chunk_bytes;
  if (job.chunk_bytes < kMinChunkBytes || job.chunk_bytes > kMaxChunkBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "chunk_bytes is ", job.chunk_bytes, ": expected ", kMinChunkBytes, " to ", kMaxChunkBytes));
  }
  return job;
}

}  // namespace qc2c
