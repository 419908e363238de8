// How much an error in the sharer's cache matters to the answer: the Fisher information of the
// receiver's next token, through fuser and receiver.
//
// With g_y the gradient of log p(y) with respect to the cache, an error e moves the distribution by
// a divergence of about 1/2 sum over y of p(y) (g_y . e)^2.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "common/codec/layer_set.h"
#include "common/codec/rotary.h"
#include "common/fuser/fuser.h"
#include "common/model/model.h"
#include "experiments/calibrate/calibration_caches.h"
#include "experiments/calibrate/fuser_metric.h"

namespace qc2c {

// One prompt's sqrt(p(y)) g_y for its likeliest next tokens y, kAnswersTaken at most, whose
// probabilities are of the receiver behind the fused cache: the sum over them instead of samples.
// Fp32, on the fuser's device; keys un-rotated.
inline constexpr int64_t kAnswersTaken = 8;
struct AnswerGradients {
  std::array<at::Tensor, 2> rows;  // by Half: [answers, T, tensors x H x D]
};

// log p [V] of the receiver's next token behind the fused `cache`, which gradients flow into.
absl::StatusOr<at::Tensor> AnswerLogProbabilities(const Model& receiver, const Fuser& fuser,
                                                  const KvLayerSet& layers,
                                                  const CalibrationPrompt& prompt,
                                                  const CalibrationCache& cache);

// In the order of `prompts`, whose caches are `caches`; `on_prompt` after each. Receiver and fuser
// are in fp32.
absl::StatusOr<std::vector<AnswerGradients>> GradientsOfAnswers(
    const Model& receiver, const Fuser& fuser, const KvLayerSet& layers,
    const KeyRotation& rotation, const std::vector<CalibrationPrompt>& prompts,
    const std::vector<CalibrationCache>& caches, const std::function<void()>& on_prompt);

// B with B^T B = the mean over n of what `rows` [n x answers, dim] make of an error, and a share
// `ridge` of `other` at the same trace: a gradient says nothing of directions in which the answer
// bends only later. Fp64.
FuserMetric FisherMetric(const at::Tensor& rows, int64_t n, const FuserMetric& other, double ridge);

// The same for rows of which there are fewer than columns, without a ridge.
FuserMetric SparseFisherMetric(const at::Tensor& rows, int64_t n);

}  // namespace qc2c
