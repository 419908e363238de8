// The codec on a GPU. cuda_encode and cuda_decode time the kernels by events: `us` is the median of
// 100 runs, `of_copy` the bytes read and written a second over those of a device-to-device copy of
// the whole cache in the same run. cuda_encode_call and cuda_decode_call time the whole call by the
// host's clock: table, kernels, the copy across PCIe and the frame's own memory.
#include <benchmark/benchmark.h>
#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "common/codec/bench_cache.h"
#include "common/codec/cuda_bench.h"
#include "common/codec/cuda_blocks.h"
#include "common/codec/scheme_registry.h"
#include "common/cuda/cuda_device.h"

namespace qc2c {
namespace {

void Kernels(benchmark::State& state, Direction direction, const std::string& codec,
             int64_t num_tokens) {
  const GpuCache cache(num_tokens);
  const CudaStream stream = CudaStream::Create().value();
  const KvFrame frame =
      EncodeCache(cache.view, BenchLayers(), CodecSpec::Parse(codec).value()).value();
  const std::vector<CudaBlockGroup> groups = GroupBlocks(frame);  // one
  const std::vector<CudaBlock> table = BlockTable(frame, groups, cache.view);
  CudaBuffer device_table(CudaMemory::kDevice), data(CudaMemory::kDevice),
      marks(CudaMemory::kDevice), totals(CudaMemory::kDevice);
  CudaBlocks blocks = BlocksOf(frame, groups[0], cache.view, table, 0);
  const size_t table_bytes = table.size() * sizeof(CudaBlock);
  blocks.blocks = reinterpret_cast<CudaBlock*>(Allocate(device_table, table_bytes));
  blocks.data = Allocate(data, frame.data.size());
  const size_t mark_bytes = table.size() * sizeof(uint32_t);
  blocks.faults = reinterpret_cast<uint32_t*>(Allocate(marks, mark_bytes));
  const size_t total_bytes = table.size() * blocks.num_tokens * blocks.num_heads * sizeof(float);
  blocks.row_totals = reinterpret_cast<float*>(Allocate(totals, total_bytes));
  Check(cudaMemcpy(device_table.data(), table.data(), table_bytes, cudaMemcpyHostToDevice) ==
                cudaSuccess &&
            cudaMemcpy(data.data(), frame.data.data(), frame.data.size(), cudaMemcpyHostToDevice) ==
                cudaSuccess,
        "upload");
  const CudaScheme& scheme = *FindCudaScheme(frame.codec.scheme);
  const auto queue = [&] {
    if (direction == Direction::kEncode) {
      cudaMemsetAsync(marks.data(), 0, mark_bytes, stream.get());
      scheme.encode(blocks, stream.get());
    } else {
      scheme.decode(blocks, stream.get());
    }
  };
  double seconds = 0;
  for (auto _ : state) {
    seconds = EventSeconds(stream, queue);
    state.SetIterationTime(seconds);
  }
  const double copy_rate = CopyRate(cache, stream);
  const double rate = (RawBytes(num_tokens) + frame.data.size()) / seconds;
  state.counters["us"] = seconds * 1e6;
  state.counters["GB/s"] = rate / 1e9;
  state.counters["copy_GB/s"] = copy_rate / 1e9;
  state.counters["of_copy"] = rate / copy_rate;
}

void WholeCall(benchmark::State& state, Direction direction, const std::string& codec,
               int64_t num_tokens) {
  const GpuCache cache(num_tokens);
  const CodecSpec spec = CodecSpec::Parse(codec).value();
  const KvLayerSet layers = BenchLayers();
  const KvFrame frame = EncodeCache(cache.view, layers, spec).value();
  std::vector<double> seconds;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    if (direction == Direction::kEncode) {
      benchmark::DoNotOptimize(EncodeCache(cache.view, layers, spec).value().data.data());
    } else {
      Check(DecodeCache(frame, cache.view).ok(), "DecodeCache");
    }
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    state.SetIterationTime(seconds.back());
  }
  state.counters["us"] = Median(seconds) * 1e6;
}

}  // namespace

void RegisterRansBenchmarks();  // rans_cuda_bench.cc

void RegisterCudaBenchmarks() {
  if (CudaDeviceCount() == 0) {
    std::fprintf(stderr, "codec_bench: no CUDA device, so the CPU alone is measured\n");
    return;
  }
  for (const int64_t num_tokens : kBenchTokens) {
    for (const std::string codec : kBenchCodecs) {
      const std::string name = codec + "/" + std::to_string(num_tokens);
      for (const Direction direction : {Direction::kEncode, Direction::kDecode}) {
        const std::string verb = direction == Direction::kEncode ? "cuda_encode" : "cuda_decode";
        benchmark::RegisterBenchmark((verb + "/" + name).c_str(), Kernels, direction, codec,
                                     num_tokens)
            ->UseManualTime()
            ->Iterations(1)
            ->Unit(benchmark::kMicrosecond);
        benchmark::RegisterBenchmark((verb + "_call/" + name).c_str(), WholeCall, direction, codec,
                                     num_tokens)
            ->UseManualTime()
            ->Iterations(50)
            ->Unit(benchmark::kMicrosecond);
      }
    }
  }
  RegisterRansBenchmarks();
}

}  // namespace qc2c
