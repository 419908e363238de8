// Prefill tokens a second by batch size, beside the floor: the model's matrix products alone, run
// by at::mm on the same shapes in the same iteration. `of_floor` is the floor's time over the
// prefill's.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <benchmark/benchmark.h>

#include <chrono>
#include <vector>

#include "common/model/model.h"

namespace qc2c {
namespace {

constexpr int64_t kTokens = 33;  // of a question of the embedded pair

// The embedded pair's sharer.
ModelConfig SmallConfig() {
  ModelConfig config;
  config.architecture = "Qwen2ForCausalLM";
  config.num_layers = 5;
  config.hidden_size = 128;
  config.intermediate_size = 256;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 32;
  config.vocab_size = 2560;
  config.max_positions = 512;
  config.traits.qkv_bias = ModelConfig::Traits::QkvBias::kPresent;
  return config;
}

Model RandomModel() {
  at::manual_seed(0);
  Model model = Model::Create(SmallConfig(), {}).value();
  for (auto [name, tensor] : model.parameters()) tensor.normal_(0, 0.05);
  return model;
}

TokenBatch RandomBatch(int64_t batch) {
  return {at::randint(SmallConfig().vocab_size, {batch, kTokens}, at::kLong),
          at::full({batch}, kTokens, at::kLong)};
}

// The products of one prefill: qkv, attention output, gate and up, down.
class Products {
 public:
  explicit Products(int64_t rows) {
    const ModelConfig c = SmallConfig();
    const int64_t q = c.num_heads * c.head_dim;
    const int64_t qkv = q + 2 * c.num_kv_heads * c.head_dim;
    const std::vector<std::pair<int64_t, int64_t>> shapes = {
        {c.hidden_size, qkv},
        {q, c.hidden_size},
        {c.hidden_size, 2 * c.intermediate_size},
        {c.intermediate_size, c.hidden_size}};
    for (const auto& [in, out] : shapes) {
      inputs_.push_back(at::randn({rows, in}));
      weights_.push_back(at::randn({out, in}).t());
    }
  }

  void Run() const {
    for (int32_t layer = 0; layer < SmallConfig().num_layers; ++layer) {
      for (size_t i = 0; i < inputs_.size(); ++i) {
        benchmark::DoNotOptimize(at::mm(inputs_[i], weights_[i]));
      }
    }
  }

 private:
  std::vector<at::Tensor> inputs_;
  std::vector<at::Tensor> weights_;
};

template <typename Body>
double Seconds(const Body& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void Report(benchmark::State& state, double model_seconds, double floor_seconds) {
  const double tokens = static_cast<double>(state.iterations() * state.range(0) * kTokens);
  state.counters["tokens_per_s"] = tokens / model_seconds;
  state.counters["floor_tokens_per_s"] = tokens / floor_seconds;
  state.counters["of_floor"] = floor_seconds / model_seconds;
}

void Prefill(benchmark::State& state) {
  const at::NoGradGuard no_grad;
  const Model model = RandomModel();
  const TokenBatch tokens = RandomBatch(state.range(0));
  const Products products(state.range(0) * kTokens);
  double model_seconds = 0;
  double floor_seconds = 0;
  for (auto _ : state) {
    const double seconds = Seconds([&] { model.Forward(tokens, nullptr).value(); });
    floor_seconds += Seconds([&] { products.Run(); });
    model_seconds += seconds;
    state.SetIterationTime(seconds);
  }
  Report(state, model_seconds, floor_seconds);
}
BENCHMARK(Prefill)->Arg(1)->Arg(8)->Arg(32)->Arg(64)->UseManualTime();

// Forward and backward without the loss's vocabulary product: twice more products than the forward.
void ForwardBackward(benchmark::State& state) {
  const Model model = RandomModel();
  for (auto [name, tensor] : model.parameters()) tensor.set_requires_grad(true);
  const TokenBatch tokens = RandomBatch(state.range(0));
  const Products products(state.range(0) * kTokens);
  double model_seconds = 0;
  double floor_seconds = 0;
  for (auto _ : state) {
    const double seconds =
        Seconds([&] { model.Forward(tokens, nullptr)->hidden.sum().backward(); });
    const at::NoGradGuard no_grad;
    floor_seconds += 3 * Seconds([&] { products.Run(); });
    model_seconds += seconds;
    state.SetIterationTime(seconds);
  }
  Report(state, model_seconds, floor_seconds);
}
BENCHMARK(ForwardBackward)->Arg(32)->Arg(64)->UseManualTime();

}  // namespace
}  // namespace qc2c

int main(int argc, char** argv) {
  at::set_num_threads(1);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
