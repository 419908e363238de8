#include "receiver/prefix.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"

namespace qc2c {

absl::Status CheckSameModel(const v1::ModelCard& receiver, const v1::ModelCard& sharer) {
  const auto refuse = [&](const std::string& field, uint64_t ours, uint64_t theirs) {
    return absl::FailedPreconditionError(
        absl::StrCat("mode is MODE_PREFIX, which needs one model on both sides: ", field,
                     " of the receiver's '", receiver.model(), "' is ", HashText(ours),
                     ", of the sharer's '", sharer.model(), "' ", HashText(theirs)));
  };
  if (receiver.model_fingerprint() != sharer.model_fingerprint()) {
    return refuse("model_fingerprint", receiver.model_fingerprint(), sharer.model_fingerprint());
  }
  if (receiver.tokenizer_hash() != sharer.tokenizer_hash()) {
    return refuse("tokenizer_hash", receiver.tokenizer_hash(), sharer.tokenizer_hash());
  }
  return absl::OkStatus();
}

absl::StatusOr<PrefixedPrompt> SplitAtContext(const LanguageModel& language_model,
                                              const std::string& context, const v1::Prompt& prompt,
                                              int64_t num_new_tokens) {
  ASSIGN_OR_RETURN(const std::string text, language_model.Render(prompt));
  ASSIGN_OR_RETURN(const EncodedText encoded,
                   language_model.tokenizer.EncodeWithOffsets(
                       context + text, LanguageModel::SpecialTokensOf(prompt)));
  RETURN_IF_ERROR(
      language_model.CheckLength(static_cast<int64_t>(encoded.ids.size()), num_new_tokens));
  const auto first_outside = std::ranges::find_if(
      encoded.offsets, [&](const EncodedText::Range& range) { return range.end > context.size(); });
  const auto cut = encoded.ids.begin() + (first_outside - encoded.offsets.begin());
  PrefixedPrompt prefixed{{encoded.ids.begin(), cut}, {cut, encoded.ids.end()}};
  if (prefixed.context_ids.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("sharer_context has ", context.size(), " bytes and no token of its own"));
  }
  return prefixed;
}

}  // namespace qc2c
