// Choosing among given texts: the option of the highest mean log-probability a token.
#pragma once

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "common/model/model.h"
#include "experiments/train/objective.h"

namespace qc2c {

// [B, O] fp32 in nats a token, O being the most options of a document; -inf where there are fewer.
// `cache` holds each document's prompt but its last token, which runs in front of every option.
absl::StatusOr<at::Tensor> OptionScores(const Model& model, const KvCache& cache,
                                        const DocumentBatch& batch);

// Cross entropy over the options of 3 x score, plus 0.3 x the right option's mean negative
// log-probability, averaged over the batch. The first sharpens the choice, the second keeps the
// model a language model.
at::Tensor OptionLoss(const at::Tensor& scores, const DocumentBatch& batch);

}  // namespace qc2c
