// What the drivers hand to a scheme's kernels: every block of a frame in one launch. Free of abseil
// and of CUDA headers, so that both compilers can include it. All pointers are device memory.
#pragma once

#include <cstdint>

#include "common/codec/codec_enums.h"
#include "common/tensor/dtype_enum.h"

struct CUstream_st;  // cudaStream_t is a pointer to it

namespace qc2c {

struct CudaBlock {
  void* plane = nullptr;  // elements of CudaBlocks::dtype, [token, head, D] by strides
  int64_t token_stride = 0;
  int64_t head_stride = 0;
  uint64_t codes_offset = 0;        // into CudaBlocks::data, a multiple of 16
  uint64_t scales_offset = 0;       // likewise
  uint64_t zero_points_offset = 0;  // likewise; of a codec that has them
  uint64_t first_position = 0;      // of this block in CudaBlocks::positions
};

// kVector: D is a multiple of 8, and every row of every plane starts at a multiple of 16 bytes.
enum class RowAccess : uint8_t { kScalar, kVector };

struct CudaBlocks {
  const CudaBlock* blocks = nullptr;  // [num_blocks]
  uint32_t num_blocks = 0;
  uint32_t num_heads = 0;
  uint32_t head_dim = 0;
  uint32_t num_tokens = 0;  // of each block
  // The cache token of a block's token i: positions[its own first_position + i], or first_position
  // + i if positions is null.
  const uint32_t* positions = nullptr;
  uint32_t first_position = 0;
  DType dtype = DType::kFp32;
  RowAccess access = RowAccess::kScalar;
  Scaling scaling;
  uint8_t* data = nullptr;     // the frame's codes and scales
  uint32_t* faults = nullptr;  // encoding: [num_blocks] BlockFaults, zero before
  // Encoding: [num_blocks, num_tokens, H], scratch of the axes per_head and per_layer.
  float* row_totals = nullptr;
};

// A scheme on the GPU: the CPU scheme's bits. Both queue their work on the stream and return the
// launch's cudaError_t.
struct CudaScheme {
  int (*encode)(const CudaBlocks& blocks, CUstream_st* stream);
  int (*decode)(const CudaBlocks& blocks, CUstream_st* stream);  // fills the planes
};

extern const CudaScheme kFp32Cuda;
extern const CudaScheme kBf16Cuda;
extern const CudaScheme kFp16Cuda;
extern const CudaScheme kInt8Cuda;
extern const CudaScheme kInt4Cuda;
extern const CudaScheme kInt3Cuda;
extern const CudaScheme kInt2Cuda;
extern const CudaScheme kInt2LloydCuda;
extern const CudaScheme kInt2AbsmaxCuda;
extern const CudaScheme kBinaryCuda;
extern const CudaScheme kNf4Cuda;
extern const CudaScheme kFp8E4m3Cuda;
extern const CudaScheme kFp8E5m2Cuda;

}  // namespace qc2c
