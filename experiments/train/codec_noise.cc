#include "experiments/train/codec_noise.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace qc2c {
namespace {

// [B, 1, 1, 1] on x's device.
at::Tensor PerRow(const std::vector<float>& values, const at::Tensor& x) {
  return at::tensor(values, at::kFloat).view({-1, 1, 1, 1}).to(x.device());
}

// Scores [B, T], of which each row's largest are kept.
at::Tensor BackScores(const at::Tensor& selected) {
  const at::Tensor order = at::arange(selected.size(1), selected.options().dtype(at::kFloat));
  return order.expand(selected.sizes());
}

at::Tensor ValueNormScores(const SharerCache& cache) {
  at::Tensor sum = at::zeros(cache.selected.sizes(), cache.selected.options().dtype(at::kFloat));
  for (const at::Tensor& values : cache.values) {
    if (values.defined()) sum += at::linalg_vector_norm(values.to(at::kFloat), 2, {3}).mean(1);
  }
  return sum;
}

enum class Pruning : int64_t { kNone, kBack, kValueNorm, kRandom };

void Prune(const CodecNoise& noise, SharerCache& cache) {
  const int64_t batch = cache.selected.size(0);
  const at::Tensor draw = at::rand({batch}), keep = at::rand({batch});
  const at::Tensor kind = at::randint(1, 4, {batch}, at::kLong);
  const at::Tensor random = at::rand(cache.selected.sizes()).to(cache.selected.device());
  const at::Device device = cache.selected.device();
  const at::Tensor pruning =
      at::where(draw.lt(noise.prune_probability), kind, static_cast<int64_t>(Pruning::kNone))
          .unsqueeze(1)
          .to(device);
  at::Tensor scores = at::where(pruning == static_cast<int64_t>(Pruning::kBack),
                                BackScores(cache.selected), random);
  scores = at::where(pruning == static_cast<int64_t>(Pruning::kValueNorm), ValueNormScores(cache),
                     scores);
  scores = scores.masked_fill(cache.selected.logical_not(), -1.0);
  const at::Tensor ratio =
      (noise.min_keep_ratio + (1.0 - noise.min_keep_ratio) * keep).unsqueeze(1).to(device);
  const at::Tensor num_kept =
      (cache.selected.sum(1, /*keepdim=*/true).to(at::kFloat) * ratio).round().clamp_min(1);
  const at::Tensor order = scores.argsort(/*stable=*/true, int64_t{1}, /*descending=*/true);
  const at::Tensor rank = order.argsort(int64_t{1}, /*descending=*/false);
  const at::Tensor kept =
      (rank < num_kept).logical_or(pruning == static_cast<int64_t>(Pruning::kNone));
  cache.selected = cache.selected.logical_and(kept);
}

}  // namespace

at::Tensor Requantize(const at::Tensor& x, const std::vector<int32_t>& bits) {
  std::vector<float> levels, is_exact, is_sign, is_four;
  for (const int32_t b : bits) {
    levels.push_back(b >= 3 ? static_cast<float>((int64_t{1} << (b - 1)) - 1) : 1.0f);
    is_exact.push_back(b == 16);
    is_sign.push_back(b == 1);
    is_four.push_back(b == 2);
  }
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor magnitude = wide.abs();
  const at::Tensor largest = magnitude.amax(3, /*keepdim=*/true).clamp_min(1e-30);
  const at::Tensor scale = largest / PerRow(levels, x);
  const at::Tensor half = largest / 2;
  const at::Tensor four = ((wide / half).floor() + 0.5).clamp(-1.5, 1.5) * half;
  const at::Tensor sign = wide.sign() * magnitude.mean(3, /*keepdim=*/true);
  at::Tensor result = (wide / scale).round() * scale;
  result = at::where(PerRow(is_four, x) > 0, four, result);
  result = at::where(PerRow(is_sign, x) > 0, sign, result);
  result = at::where(PerRow(is_exact, x) > 0, wide, result);
  return result.to(x.scalar_type());
}

void AddCodecNoise(const CodecNoise& noise, SharerCache& cache) {
  const at::Tensor choice =
      at::randint(static_cast<int64_t>(noise.bits.size()), {cache.selected.size(0)}, at::kLong);
  std::vector<int32_t> bits;
  for (int64_t row = 0; row < choice.size(0); ++row) {
    bits.push_back(noise.bits[choice[row].item<int64_t>()]);
  }
  Prune(noise, cache);
  for (auto* half : {&cache.keys, &cache.values}) {
    for (at::Tensor& tensor : *half) {
      if (tensor.defined()) tensor = Requantize(tensor, bits);
    }
  }
}

}  // namespace qc2c
