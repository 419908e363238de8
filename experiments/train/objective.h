// From documents to a loss, and from documents to the share of right answers.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/fuser/fuser.h"
#include "common/model/model.h"
#include "experiments/train/codec_noise.h"
#include "experiments/train/documents.h"

namespace qc2c {

using DocumentBatch = std::vector<const Document*>;

// Cross entropy in nats of every token with a positive weight, averaged by weight. A scalar; logits
// are computed for those tokens alone.
absl::StatusOr<at::Tensor> LanguageModelLoss(const Model& model, const DocumentBatch& batch);

// What a fuser is trained with, besides documents.
struct FuserTraining {
  FuseOptions options;
  enum class Sharer { kPrompt, kZeroCache } sharer = Sharer::kPrompt;
  std::optional<CodecNoise> noise;
  // Called with each batch's cache before it is fused, if set.
  std::function<absl::Status(SharerCache&)> change;
};

// The same over the answers, behind the fused cache of the prompts. Both models are frozen:
// gradients flow into the fuser alone.
absl::StatusOr<at::Tensor> FuserLoss(const Model& receiver, const Model& sharer, const Fuser& fuser,
                                     const FuserTraining& training, const DocumentBatch& batch);

// Nats a token: the mean negative log-probability of the right answers behind the fused cache, of
// the right option or of the tokens with a weight. A scalar.
absl::StatusOr<at::Tensor> AnswerLoss(const Model& receiver, const Model& sharer,
                                      const Fuser& fuser, const FuserTraining& training,
                                      const DocumentBatch& batch);

// By kind, the share of documents whose first answer token is the argmax over the whole vocabulary,
// or whose right option has the highest mean log-probability a token. Documents with and without
// options are of different kinds.
using Accuracy = std::map<std::string, double>;
absl::StatusOr<Accuracy> CheckAlone(const Model& model, const DocumentPools& pools);
// `kind`: which cache is fused; a fuser trained on a zero cache is to be checked with one.
absl::StatusOr<Accuracy> CheckFused(const Model& receiver, const Model& sharer, const Fuser& fuser,
                                    FuserTraining::Sharer kind, const DocumentPools& pools);

}  // namespace qc2c
