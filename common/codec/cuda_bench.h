// What the benchmarks on a GPU share: a cache there, times by events, and the copy to compare with.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "common/codec/bench_cache.h"
#include "common/cuda/cuda_buffer.h"
#include "common/cuda/cuda_stream.h"

namespace qc2c {

enum class Direction { kEncode, kDecode };

inline constexpr int kGpuRepetitions = 100;

inline void Check(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "codec_bench: %s failed\n", what);
  std::exit(1);
}

inline uint8_t* Allocate(CudaBuffer& buffer, size_t bytes) {
  Check(buffer.Reserve(bytes).ok(), "device memory");
  return buffer.data();
}

// A random cache in GPU memory.
struct GpuCache {
  explicit GpuCache(int64_t num_tokens) {
    const std::vector<uint16_t> values = RandomValues(num_tokens);
    Check(cudaMemcpy(Allocate(memory, RawBytes(num_tokens)), values.data(), RawBytes(num_tokens),
                     cudaMemcpyHostToDevice) == cudaSuccess,
          "upload");
    view = BenchView(memory.data(), num_tokens, DeviceType::kCuda);
  }

  CudaBuffer memory{CudaMemory::kDevice};
  KvCacheView view;
};

// Median seconds of `queue`, which puts work on the stream.
template <typename Queue>
double EventSeconds(const CudaStream& stream, Queue queue) {
  cudaEvent_t start, stop;
  Check(cudaEventCreate(&start) == cudaSuccess && cudaEventCreate(&stop) == cudaSuccess, "events");
  std::vector<double> seconds;
  for (int i = 0; i < kGpuRepetitions; ++i) {
    cudaEventRecord(start, stream.get());
    queue();
    cudaEventRecord(stop, stream.get());
    Check(stream.Synchronize().ok(), "kernels");
    float milliseconds = 0;
    cudaEventElapsedTime(&milliseconds, start, stop);
    seconds.push_back(milliseconds / 1e3);
  }
  cudaEventDestroy(start);
  cudaEventDestroy(stop);
  return Median(seconds);
}

// Bytes read and written a second by a device-to-device copy of the cache.
inline double CopyRate(const GpuCache& cache, const CudaStream& stream) {
  const size_t bytes = RawBytes(cache.view.num_tokens);
  CudaBuffer to(CudaMemory::kDevice);
  Allocate(to, bytes);
  return 2 * bytes / EventSeconds(stream, [&] {
           cudaMemcpyAsync(to.data(), cache.memory.data(), bytes, cudaMemcpyDeviceToDevice,
                           stream.get());
         });
}

}  // namespace qc2c
