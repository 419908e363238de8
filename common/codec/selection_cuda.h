// Selections by score on the GPU: the scores and the kept positions of selection.h, to the bit.
// Free of abseil and of CUDA headers. All pointers are device memory.
#pragma once

#include <cstdint>

#include "common/codec/cuda_scheme.h"

namespace qc2c {

struct CudaScoring {
  // kNorms: of the rows of each block's plane. kGiven: each plane is [num_tokens] fp32 scores.
  enum class Source : uint8_t { kNorms, kGiven };

  const CudaBlock* blocks = nullptr;  // [num_layers]; only planes and strides are used
  uint32_t num_layers = 0;
  uint32_t num_tokens = 0;
  uint32_t num_heads = 0;
  uint32_t head_dim = 0;
  DType dtype = DType::kFp32;
  uint32_t num_kept = 0;
  IndexSets index_sets = IndexSets::kOne;  // kPerLayer: num_kept of each of the layers
  Source source = Source::kNorms;
  float* layer_means = nullptr;  // [num_layers, num_tokens], scratch
  float* scores = nullptr;       // [num_tokens], scratch of one set
  // [num_layers] BlockFaults, zero before; of kGiven not 0 where a score is negative or not finite.
  uint32_t* faults = nullptr;
  uint32_t* positions = nullptr;  // [index sets, num_kept], the result, each set ascending
};

// Queues everything on the stream; the launches' cudaError_t.
int LaunchSelectByScore(const CudaScoring& scoring, CUstream_st* stream);

}  // namespace qc2c
