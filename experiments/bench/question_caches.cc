#include "experiments/bench/question_caches.h"

#include <ATen/core/grad_mode.h>

#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

absl::Status VisitCache(const LanguageModel& model, const v1::Prompt& prompt,
                        const std::function<absl::Status(const KvCacheView&)>& visit) {
  const at::NoGradGuard no_grad;
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids, model.Tokenize(prompt, 0));
  const TokenBatch tokens = TokenBatch::FromSequences({ids}, model.model.options().device);
  ASSIGN_OR_RETURN(const ForwardResult prefill, model.model.Forward(tokens, nullptr));
  const KvLayout layout = model.model.config().Layout();
  std::vector<int32_t> layers(layout.num_layers);
  std::iota(layers.begin(), layers.end(), 0);
  return visit(ViewOfRow(prefill.cache, 0, static_cast<int64_t>(ids.size()), layers, layout));
}

}  // namespace

absl::Status VisitCaches(const LanguageModel& model, const PromptFormat& format,
                         const std::vector<Question>& questions,
                         const std::function<absl::Status(const KvCacheView&)>& visit) {
  for (const Question& question : questions) {
    const absl::Status status = VisitCache(model, format.PromptFor(question), visit);
    if (status.ok()) continue;
    return absl::Status(status.code(), absl::StrCat("question '", question.id,
                                                    "': ", std::string(status.message())));
  }
  return absl::OkStatus();
}

}  // namespace qc2c
