// The scheme klt on one CPU core: the last tokens alone, and the whole cache at two steps, of a
// prompt and a codebook of the shapes that Qwen2.5-Coder-1.5B has through a fuser with 25 open
// gates. Numbers are random, of the standard deviations that were measured there.
#include <benchmark/benchmark.h>

#include <cmath>
#include <numeric>
#include <random>

#include "common/codec/klt.h"
#include "common/codec/klt_transform.h"

namespace qc2c {
namespace {

constexpr KvLayout kLayout = {.num_layers = 28, .num_kv_heads = 2, .head_dim = 128};
constexpr uint32_t kPrefix = 32, kMiddle = 47, kTail = 62, kJoint = 8;
constexpr int32_t kKeyTensors = 13, kValueTensors = 12;

// Exponents of the standard deviation at every tenth of the components.
constexpr int kMiddleSigma[] = {14, -2, -6, -8, -10, -11, -13, -14, -15, -17, -18};
constexpr int kTailSigma[] = {-2, -13, -16, -17, -18, -19, -20, -21, -22, -22, -23};
constexpr int kJointSigma[] = {12, 4, 3, 0, -1, -2, -2, -3, -4, -4, -5};

std::vector<float> Normal(size_t count, float scale) {
  static std::mt19937 random(1);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> some(size_t{1} << 18), values(count);
  for (float& value : some) value = normal(random);
  for (size_t i = 0; i < count; ++i) values[i] = some[(i * 7 + i / some.size()) % some.size()];
  return values;
}

// A row of N(0, 1) has coefficients of the basis's standard deviations.
KltBasis RandomBasis(size_t k, size_t dim, const int (&deciles)[11]) {
  KltBasis basis{.dim = dim, .synthesis = PackDimensions(Normal(k * dim, 1.0f / 64), k, dim)};
  std::vector<float> analysis = Normal(k * dim, 1.0f / std::sqrt(static_cast<float>(dim)));
  for (size_t c = 0; c < k; ++c) {
    const size_t place = 10 * c;
    const int low = deciles[place / k], high = deciles[std::min<size_t>(place / k + 1, 10)];
    basis.sigma.push_back(static_cast<int16_t>(low + (high - low) * static_cast<int>(place % k) /
                                                         static_cast<int>(k)));
    basis.shape.push_back(static_cast<uint8_t>(c % kKltNumShapes));
    const float sigma = KltPower(basis.sigma.back());
    for (size_t n = 0; n < dim; ++n) analysis[c * dim + n] *= sigma;
  }
  basis.analysis = PackComponents(analysis, k, dim);
  return basis;
}

// Laplace distributions.
RansTable TableOf(int spread) {
  std::vector<double> weights(kKltNumSymbols, 1e-4);
  const double scale = std::exp2(spread / 4.0) / std::sqrt(2.0);
  for (int value = -kKltLargestValue; value <= kKltLargestValue; ++value) {
    weights[value + kKltLargestValue] =
        std::exp(-std::max(0.0, std::abs(value) - 0.5) / scale) + 1e-9;
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<uint16_t> frequencies;
  for (const double weight : weights) {
    frequencies.push_back(static_cast<uint16_t>(1 + weight / sum * ((1 << kRansBits) - 256)));
  }
  const int total = std::accumulate(frequencies.begin(), frequencies.end(), 0);
  frequencies[kKltLargestValue] += static_cast<uint16_t>((1 << kRansBits) - total);
  return RansTable::Create(frequencies).value();
}

KltCodebook RandomCodebook() {
  KltCodebook book;
  book.id = 1;
  book.layout = kLayout;
  for (int32_t i = 0; i < kKeyTensors; ++i) book.layers.keys.push_back(2 * i);
  for (int32_t i = 0; i < kValueTensors; ++i) book.layers.values.push_back(2 * i + 1);
  std::vector<float> frequencies;
  for (int i = 0; i < 64; ++i) frequencies.push_back(std::pow(1e6f, -static_cast<float>(i) / 64));
  book.rotation = {{frequencies}, std::vector<uint32_t>(kLayout.num_layers, 0)};
  KltTemplate& common = book.prompt_template;
  common.prefix_ids.resize(kPrefix);
  common.prefix_positions.resize(kPrefix);
  std::iota(common.prefix_positions.begin(), common.prefix_positions.end(), 0);
  common.tail_ids.resize(kTail);
  for (uint32_t i = kTail; i-- > 0;) common.tail_distances.push_back(i);
  book.joint_tokens = kJoint;
  book.levels = {{.last_tokens = kJoint, .joint_step = -1},
                 {.middle_step = 17, .joint_step = -5},
                 {.middle_step = 1, .tail_step = -7},
                 {.middle_step = -7, .tail_step = -11}};
  size_t both = 0;
  for (const Half half : {Half::kKey, Half::kValue}) {
    const auto h = static_cast<size_t>(half);
    const size_t dim = book.Dim(half);
    both += dim;
    book.prefix[h] = Normal(kPrefix * dim, 1);
    book.middle_mean[h] = std::vector<float>(dim);
    book.tail_mean[h] = std::vector<float>(kTail * dim);
    book.middle[h] = RandomBasis(1024, dim, kMiddleSigma);
    book.tail[h] = RandomBasis(480, dim, kTailSigma);
  }
  book.joint = RandomBasis(35, kJoint * both, kJointSigma);
  for (int t = 0; t < kKltNumShapes * kKltNumSpreads; ++t) {
    book.tables.push_back(TableOf(t % kKltNumSpreads + kKltMinSpread));
  }
  for (int bits = 1; bits <= kKltMaxLowBits; ++bits) {
    const std::vector<uint16_t> uniform(size_t{1} << bits, uint16_t{1} << (kRansBits - bits));
    book.tables.push_back(RansTable::Create(uniform).value());
  }
  return book;
}

const KltCodebook& Codebook() {
  static const KltCodebook book = RandomCodebook();
  return book;
}

// A prompt of the codebook's template and its bf16 cache.
struct Prompt {
  std::vector<int32_t> ids = std::vector<int32_t>(kPrefix + kMiddle + kTail);
  std::vector<uint32_t> positions = std::vector<uint32_t>(ids.size());
  std::vector<uint16_t> values;
  KvCacheView view = {
      .layout = kLayout, .num_tokens = static_cast<int64_t>(ids.size()), .dtype = DType::kBf16};

  Prompt() {
    std::iota(positions.begin(), positions.end(), 0);
    const size_t row = size_t{kLayout.num_kv_heads} * kLayout.head_dim;
    const size_t plane = ids.size() * row;
    for (const float value : Normal(2 * kLayout.num_layers * plane, 1)) {
      values.push_back(Fp32ToBf16(value));
    }
    for (int32_t i = 0; i < 2 * kLayout.num_layers; ++i) {
      (i % 2 == 0 ? view.keys : view.values)
          .push_back({values.data() + i * plane, static_cast<int64_t>(row), kLayout.head_dim});
    }
  }
};

void Encode(benchmark::State& state) {
  const Prompt prompt;
  const auto level = static_cast<uint32_t>(state.range(0));
  size_t num_bytes = 0;
  for (auto _ : state) {
    auto encoder =
        KltEncoder::Create(Codebook(), {prompt.ids, prompt.positions}, prompt.view).value();
    num_bytes = encoder.Encode(level).value().data.size();
  }
  state.counters["bytes"] = static_cast<double>(num_bytes);
}

void Decode(benchmark::State& state) {
  const Prompt prompt;
  auto encoder =
      KltEncoder::Create(Codebook(), {prompt.ids, prompt.positions}, prompt.view).value();
  const KvFrame frame = encoder.Encode(static_cast<uint32_t>(state.range(0))).value();
  const Prompt target;
  KvCacheView out = target.view;
  out.num_tokens = static_cast<int64_t>(frame.positions.size());
  for (auto _ : state) {
    if (!DecodeKlt(frame, prompt.positions, out).ok()) state.SkipWithError("DecodeKlt");
  }
}

BENCHMARK(Encode)->DenseRange(0, 3)->Unit(benchmark::kMillisecond);
BENCHMARK(Decode)->DenseRange(0, 3)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace qc2c

BENCHMARK_MAIN();
