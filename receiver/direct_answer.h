// For tests: what a model gives directly, without codec, wire or batch.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "common/model/model.h"
#include "receiver/served_receiver.h"

namespace qc2c {

using Ids = std::vector<int32_t>;

// fp32 sums over the same numbers in another order: logits of size 20, some hundred terms.
inline constexpr double kFp32Tolerance = 1e-4;

inline KvCache PrefillAllButLast(const Model& model, const Ids& ids,
                                 const KvCache* past = nullptr) {
  const TokenBatch tokens = TokenBatch::FromSequences({{ids.begin(), ids.end() - 1}}, at::kCPU);
  return model.Forward(tokens, past).value().cache;
}

// The log-probability of each option token by token: one pass over the last prompt token and the
// option, on top of `cache`.
inline double DirectScore(const KvCache& cache, const Ids& prompt, const Ids& option) {
  Ids ids = {prompt.back()};
  ids.insert(ids.end(), option.begin(), option.end());
  const Model& model = EmbeddedReceiver().model;
  const TokenBatch tokens = TokenBatch::FromSequences({ids}, at::kCPU);
  const at::Tensor hidden = model.Forward(tokens, &cache).value().hidden;
  const at::Tensor log_p = model.Logits(hidden)[0].to(at::kDouble).log_softmax(-1);
  double sum = 0;
  for (size_t i = 0; i < option.size(); ++i) sum += log_p[i][option[i]].item<double>();
  return sum;
}

inline v1::AnswerRequest WithOptions(v1::AnswerRequest request, v1::AnswerMethod method) {
  request.set_method(method);
  request.clear_max_new_tokens();
  for (const char* option : {" A", " Boston Rome", " C", " Dancer in Tokyo"}) {
    request.add_options(option);
  }
  return request;
}

}  // namespace qc2c
