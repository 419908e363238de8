// treatment.h on the GPU, to the bit: every block of a frame in one launch. Free of abseil and of
// CUDA headers, so that both compilers can include it. All pointers are device memory.
#pragma once

#include <cstdint>

#include "common/codec/cuda_scheme.h"

namespace qc2c {

// What is done to one block. Offsets count floats of CudaTreatment::numbers; -1: not done.
struct CudaTreatmentSteps {
  int64_t cosines = -1;  // [plane tokens, D/2]; the sines likewise
  int64_t sines = -1;
  int64_t means = -1;  // [H, D]
  uint32_t has_transform = 0;
};

struct CudaTreatment {
  CudaBlocks cache;                           // the blocks as the cache has them
  const CudaTreatmentSteps* steps = nullptr;  // [num_blocks]
  const float* numbers = nullptr;
  float* treated = nullptr;  // [num_blocks, num_tokens, H, D]
};

// The cache's values, treated, into `treated`, and back. Both queue their work on the stream and
// return the launch's cudaError_t.
int LaunchTreat(const CudaTreatment& treatment, CUstream_st* stream);
int LaunchUntreat(const CudaTreatment& treatment, CUstream_st* stream);

}  // namespace qc2c
