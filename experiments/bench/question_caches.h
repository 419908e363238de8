// Real caches: what a model holds after reading questions.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "common/serving/language_model.h"
#include "common/tensor/kv_cache_view.h"
#include "experiments/prompt_format.h"
#include "experiments/question.h"

namespace qc2c {

// Prefills each question's prompt, rendered by the model's own chat template, by itself, and shows
// the cache of all its tokens to `visit`; the view ends with the call. Stops at the first error,
// which names the question.
absl::Status VisitCaches(const LanguageModel& model, const PromptFormat& format,
                         const std::vector<Question>& questions,
                         const std::function<absl::Status(const KvCacheView&)>& visit);

}  // namespace qc2c
