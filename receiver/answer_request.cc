#include "receiver/answer_request.h"

#include <algorithm>
#include <functional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/rpc/request_limits.h"
#include "common/wire/frame_codec.h"

namespace qc2c {
namespace {

absl::Status CheckTokenCount(const std::string& field, uint32_t count) {
  if (count >= 1 && count <= kMaxNewTokens) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, " is ", count, ": expected 1 to ", kMaxNewTokens));
}

absl::Status CheckMethod(const v1::AnswerRequest& request) {
  switch (request.method()) {
    case v1::ANSWER_METHOD_GENERATE:
      return CheckTokenCount("max_new_tokens", request.max_new_tokens());
    case v1::ANSWER_METHOD_LOGITS:
    case v1::ANSWER_METHOD_LOGLIKELIHOOD:
      if (request.mode() == v1::MODE_SHARER || request.mode() == v1::MODE_TEXT_ANSWER) {
        return absl::InvalidArgumentError(absl::StrCat(
            "method is ", v1::AnswerMethod_Name(request.method()), ": mode ",
            v1::Mode_Name(request.mode()), " answers with text, expected ANSWER_METHOD_GENERATE"));
      }
      if (request.options_size() < 2 || request.options_size() > kMaxOptions) {
        return absl::InvalidArgumentError(absl::StrCat("options has ", request.options_size(),
                                                       " entries: expected 2 to ", kMaxOptions));
      }
      return absl::OkStatus();
    default:
      return absl::InvalidArgumentError(absl::StrCat("method is ", request.method(),
                                                     ": expected GENERATE, LOGITS or "
                                                     "LOGLIKELIHOOD"));
  }
}

absl::Status CheckText(const v1::AnswerRequest& request) {
  if (!request.has_sharer_prompt()) {
    return absl::InvalidArgumentError("sharer_prompt is absent: MODE_TEXT needs it");
  }
  const bool has_placeholder =
      absl::StrContains(request.prompt().text(), kHintPlaceholder) ||
      std::any_of(request.prompt().messages().begin(), request.prompt().messages().end(),
                  [](const v1::ChatMessage& message) {
                    return absl::StrContains(message.content(), kHintPlaceholder);
                  });
  if (!has_placeholder) {
    return absl::InvalidArgumentError(absl::StrCat(
        "prompt.messages, prompt.text: no ", kHintPlaceholder, " in them, which MODE_TEXT needs"));
  }
  return CheckTokenCount("sharer_max_new_tokens", request.sharer_max_new_tokens());
}

absl::Status CheckFused(const v1::AnswerRequest& request) {
  if (request.control() == v1::CONTROL_WRONG_QUESTION && !request.has_control_prompt()) {
    return absl::InvalidArgumentError("control_prompt is absent: CONTROL_WRONG_QUESTION needs it");
  }
  return CodecFromProto(request.codec()).status();
}

absl::Status CheckPrefix(const v1::AnswerRequest& request) {
  if (request.sharer_context().empty()) {
    return absl::InvalidArgumentError("sharer_context is empty: MODE_PREFIX needs it");
  }
  if (request.control() == v1::CONTROL_WRONG_QUESTION && request.control_context().empty()) {
    return absl::InvalidArgumentError(
        "control_context is empty: CONTROL_WRONG_QUESTION of MODE_PREFIX needs it");
  }
  ASSIGN_OR_RETURN(const CodecSpec codec, CodecFromProto(request.codec()));
  if (codec.index_sets != IndexSets::kOne) {
    return absl::InvalidArgumentError(
        "codec: indices is 'per_layer': MODE_PREFIX, whose tokens are those of every layer, "
        "expects one");
  }
  for (const Half half : {Half::kKey, Half::kValue}) {
    const std::vector<uint8_t>& entries = codec.schedule.Of(half);
    if (std::ranges::find(entries, PrecisionSchedule::kNotSent) == entries.end()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("codec: ", half == Half::kKey ? "keys" : "values",
                     " has 'none': MODE_PREFIX needs the whole cache"));
  }
  return absl::OkStatus();
}

// Which sharers, and how they combine; how many there are is the engine's to know.
absl::Status CheckSharers(const v1::AnswerRequest& request) {
  const auto& sharers = request.sharers();
  if (std::ranges::adjacent_find(sharers, std::greater_equal<>()) != sharers.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("sharers is ", absl::StrJoin(sharers, ", "), ": expected ascending indices"));
  }
  const int most = request.mode() == v1::MODE_FUSED      ? sharers.size()
                   : request.mode() == v1::MODE_RECEIVER ? 0
                                                         : 1;
  if (sharers.size() > most) {
    return absl::InvalidArgumentError(absl::StrCat("sharers has ", sharers.size(),
                                                   " entries: mode ", v1::Mode_Name(request.mode()),
                                                   " asks ", most));
  }
  if (!v1::Combine_IsValid(request.combine())) {
    return absl::InvalidArgumentError(
        absl::StrCat("combine is ", request.combine(), ": expected SEQUENTIAL or PARALLEL"));
  }
  if (request.combine() != v1::COMBINE_UNSPECIFIED && request.mode() != v1::MODE_FUSED) {
    return absl::InvalidArgumentError(absl::StrCat("combine is set, which mode ",
                                                   v1::Mode_Name(request.mode()),
                                                   " does not use: expected MODE_FUSED"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckAnswerRequest(const v1::AnswerRequest& request) {
  if (request.question_id().size() > kMaxQuestionIdBytes) {
    return absl::InvalidArgumentError(absl::StrCat("question_id has ", request.question_id().size(),
                                                   " bytes: expected at most ",
                                                   kMaxQuestionIdBytes));
  }
  if (request.prompt().messages().empty() && request.prompt().text().empty()) {
    return absl::InvalidArgumentError(
        "prompt.messages is empty: expected at least one message, or text");
  }
  RETURN_IF_ERROR(CheckMethod(request));
  RETURN_IF_ERROR(CheckSharers(request));
  const bool shares_cache = request.mode() == v1::MODE_FUSED || request.mode() == v1::MODE_PREFIX;
  if (!shares_cache && !request.sharer_context().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("sharer_context is set, which mode ", v1::Mode_Name(request.mode()),
                     " does not use: expected MODE_FUSED or MODE_PREFIX"));
  }
  switch (request.mode()) {
    case v1::MODE_RECEIVER:
    case v1::MODE_SHARER:
    case v1::MODE_TEXT_ANSWER:
      return absl::OkStatus();
    case v1::MODE_TEXT:
      return CheckText(request);
    case v1::MODE_FUSED:
      return CheckFused(request);
    case v1::MODE_PREFIX:
      return CheckPrefix(request);
    default:
      return absl::InvalidArgumentError(absl::StrCat("mode is ", request.mode(),
                                                     ": expected RECEIVER, SHARER, FUSED, TEXT, "
                                                     "TEXT_ANSWER or PREFIX"));
  }
}

int64_t NumNewTokens(const v1::AnswerRequest& request) {
  return request.method() == v1::ANSWER_METHOD_GENERATE ? request.max_new_tokens() : 0;
}

}  // namespace qc2c
