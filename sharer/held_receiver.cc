#include "sharer/held_receiver.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

uint64_t BytesOf(const std::vector<std::pair<std::string, at::Tensor>>& parameters) {
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : parameters) bytes += tensor.nbytes();
  return bytes;
}

// The row's first tokens, all of them sent.
SharerCache TokensOfRow(const KvCache& cache, int64_t row, int64_t num_tokens) {
  SharerCache tokens;
  const auto take = [&](const at::Tensor& tensor) {  // [B, H, S, D]
    return tensor.narrow(0, row, 1).narrow(2, 0, num_tokens);
  };
  for (const at::Tensor& keys : cache.keys) tokens.keys.push_back(take(keys));
  for (const at::Tensor& values : cache.values) tokens.values.push_back(take(values));
  tokens.selected = at::ones({1, num_tokens}, cache.valid.options());
  return tokens;
}

}  // namespace

absl::StatusOr<HeldReceiver> HeldReceiver::Load(const std::filesystem::path& receiver,
                                                const std::filesystem::path& fuser,
                                                const LanguageModel& sharer) {
  const ModelOptions& options = sharer.model.options();
  ASSIGN_OR_RETURN(LanguageModel loaded, LanguageModel::Load(receiver, options));
  const uint64_t own_tokenizer = sharer.Card().tokenizer_hash();
  const uint64_t tokenizer = loaded.Card().tokenizer_hash();
  if (tokenizer != own_tokenizer) {
    return absl::FailedPreconditionError(absl::StrCat(
        receiver.string(), ": tokenizer_hash is ", HashText(tokenizer), ": expected the sharer's ",
        HashText(own_tokenizer), ", as a held receiver reads the sharer's ids"));
  }
  absl::StatusOr<Fuser> of_pair =
      Fuser::Load(fuser, loaded.model.config().Layout(), sharer.model.config().Layout(), options);
  if (!of_pair.ok()) return AsFileError(of_pair.status());
  const uint64_t bytes = BytesOf(loaded.model.parameters()) + BytesOf(of_pair->parameters());
  return HeldReceiver{std::move(loaded.model), *std::move(of_pair), bytes};
}

absl::StatusOr<at::Tensor> HeldReceiver::Scores(Selection selection,
                                                const std::vector<int32_t>& ids,
                                                const KvCache& sharer, int64_t row) const {
  const at::NoGradGuard no_grad;
  RETURN_IF_ERROR(CheckSequence("the held receiver: ids", ids, model.config()));
  const auto num_tokens = static_cast<int64_t>(ids.size());
  ASSIGN_OR_RETURN(
      const ForwardResult own,
      model.Forward(TokenBatch::FromSequences({ids}, model.options().device), nullptr));
  ASSIGN_OR_RETURN(const CacheDifference added,
                   fuser.Difference(TokensOfRow(sharer, row, num_tokens), own.cache));
  const at::Tensor scores = at::zeros({fuser.config().sharer.num_layers, num_tokens},
                                      own.cache.valid.options().dtype(at::kFloat));
  for (size_t layer = 0; layer < added.values.size(); ++layer) {
    const at::Tensor& residual = added.values[layer];
    at::Tensor values = residual;  // [1, H, N, D]; undefined behind a closed gate
    if (selection == Selection::kProjectedNorm) {
      values = own.cache.values[layer].to(at::kFloat);
      if (residual.defined()) values = values + residual;
    }
    if (!values.defined()) continue;
    const at::Tensor norms = at::linalg_vector_norm(values.to(at::kFloat), 2, {3}).mean(1)[0];
    scores[fuser.config().layer_map[layer]].add_(norms);
  }
  return scores;
}

}  // namespace qc2c
