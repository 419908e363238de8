// zero_point.h on the GPU, to the bit. Free of abseil and of CUDA headers. All pointers are device
// memory.
#pragma once

#include <cstdint>

#include "common/codec/cuda_scheme.h"

namespace qc2c {

struct CudaZeroPoints {
  CudaBlocks blocks;           // treated: fp32, without gaps
  uint64_t num_scales = 0;     // of one block
  float* treated = nullptr;    // [num_blocks, num_tokens, H, D]
  uint32_t* ranges = nullptr;  // taking: scratch [num_blocks, num_scales, 2]
};

// Both queue their work on the stream and return a cudaError_t.
int LaunchTakeZeroPoints(const CudaZeroPoints& args, CUstream_st* stream);
int LaunchAddZeroPoints(const CudaZeroPoints& args, CUstream_st* stream);

}  // namespace qc2c
