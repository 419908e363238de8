// EncodeCache and DecodeCache on one CPU core, in bytes of the bf16 cache a second. `of_memcpy` is
// that rate over memcpy's of the same cache in the same run.
#include <benchmark/benchmark.h>

#include <cstring>
#include <map>
#include <string>

#include "common/codec/bench_cache.h"

namespace qc2c {
namespace {

// Median of 11 copies between warm buffers.
double MemcpySeconds(int64_t num_tokens) {
  static std::map<int64_t, double> measured;
  if (const auto found = measured.find(num_tokens); found != measured.end()) return found->second;
  const std::vector<uint16_t> from = RandomValues(num_tokens);
  std::vector<uint16_t> to = from;
  std::vector<double> seconds;
  for (int i = 0; i < 11; ++i) {
    const double start = ThreadSeconds();
    std::memcpy(to.data(), from.data(), RawBytes(num_tokens));
    benchmark::ClobberMemory();
    seconds.push_back(ThreadSeconds() - start);
  }
  return measured[num_tokens] = Median(seconds);
}

// Runs `work` once an iteration and reports its rate.
template <typename Work>
void Measure(benchmark::State& state, int64_t num_tokens, Work work) {
  std::vector<double> seconds;
  for (auto _ : state) {
    const double start = ThreadSeconds();
    work();
    seconds.push_back(ThreadSeconds() - start);
  }
  const double median = Median(seconds);
  state.counters["GB/s"] = RawBytes(num_tokens) / median / 1e9;
  state.counters["memcpy_GB/s"] = RawBytes(num_tokens) / MemcpySeconds(num_tokens) / 1e9;
  state.counters["of_memcpy"] = MemcpySeconds(num_tokens) / median;
}

void EncodeOnCpu(benchmark::State& state, const std::string& codec, int64_t num_tokens) {
  std::vector<uint16_t> values = RandomValues(num_tokens);
  const KvCacheView view = BenchView(values.data(), num_tokens, DeviceType::kCpu);
  const CodecSpec spec = CodecSpec::Parse(codec).value();
  const KvLayerSet layers = BenchLayers();
  Measure(state, num_tokens,
          [&] { benchmark::DoNotOptimize(EncodeCache(view, layers, spec).value().data.data()); });
}

void DecodeOnCpu(benchmark::State& state, const std::string& codec, int64_t num_tokens) {
  std::vector<uint16_t> values = RandomValues(num_tokens);
  const KvCacheView view = BenchView(values.data(), num_tokens, DeviceType::kCpu);
  const KvFrame frame = EncodeCache(view, BenchLayers(), CodecSpec::Parse(codec).value()).value();
  Measure(state, num_tokens, [&] {
    if (!DecodeCache(frame, view).ok()) state.SkipWithError("DecodeCache");
  });
}

}  // namespace

void RegisterCudaBenchmarks();  // codec_cuda_bench.cc

}  // namespace qc2c

int main(int argc, char** argv) {
  using qc2c::kBenchCodecs;
  using qc2c::kBenchTokens;
  for (const int64_t num_tokens : kBenchTokens) {
    for (const std::string codec : kBenchCodecs) {
      const std::string name = codec + "/" + std::to_string(num_tokens);
      benchmark::RegisterBenchmark(("cpu_encode/" + name).c_str(), qc2c::EncodeOnCpu, codec,
                                   num_tokens)
          ->Unit(benchmark::kMillisecond);
      benchmark::RegisterBenchmark(("cpu_decode/" + name).c_str(), qc2c::DecodeOnCpu, codec,
                                   num_tokens)
          ->Unit(benchmark::kMillisecond);
    }
  }
#ifdef QC2C_ENABLE_CUDA
  qc2c::RegisterCudaBenchmarks();
#endif
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 64;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
