#include "common/codec/rows_cuda.cuh"
#include "common/codec/treatment_cuda.h"

namespace qc2c {
namespace {

// One thread block a row: where its values lie and what is done to it.
struct TreatedRow {
  CudaTreatmentSteps steps;
  CudaBlock block;
  uint32_t head;
  uint32_t position;  // of the plane's token
  float* treated;     // [D]
};

__device__ TreatedRow RowOfThreadBlock(const CudaTreatment& args) {
  const CudaBlocks& cache = args.cache;
  const uint32_t token = blockIdx.x / cache.num_heads;
  const uint64_t rows = static_cast<uint64_t>(cache.num_tokens) * cache.num_heads;
  const CudaBlock block = cache.blocks[blockIdx.y];
  return {args.steps[blockIdx.y], block, blockIdx.x % cache.num_heads,
          PositionOf(cache, block, token),
          args.treated + (blockIdx.y * rows + blockIdx.x) * cache.head_dim};
}

template <DType kType>
__device__ typename Element<kType>::Bits* CacheRow(const TreatedRow& row) {
  return static_cast<typename Element<kType>::Bits*>(row.block.plane) +
         row.position * row.block.token_stride + row.head * row.block.head_stride;
}

// HadamardTransform of the row in `values`, a value a thread. Every thread takes part in every
// barrier.
__device__ void TransformShared(float* values, uint32_t dim) {
  const uint32_t d = threadIdx.x;
  for (uint32_t step = 1; step < dim; step *= 2) {
    __syncthreads();
    float result = 0.0f;
    if (d < dim) {
      const float mine = values[d];
      const float other = values[d ^ step];
      result = (d & step) == 0 ? __fadd_rn(mine, other) : __fsub_rn(other, mine);
    }
    __syncthreads();
    if (d < dim) values[d] = result;
  }
}

// The turned value d of the row in `values`: by the angle of (c, s), or back with -s. The bits of
// Rotate and Unrotate, since a - b s is a + b (-s) exactly.
__device__ float Turned(const float* values, uint32_t d, uint32_t half, float c, float s) {
  if (d < half) return __fsub_rn(__fmul_rn(values[d], c), __fmul_rn(values[half + d], s));
  return __fadd_rn(__fmul_rn(values[d], c), __fmul_rn(values[d - half], s));
}

template <DType kType>
__global__ void TreatKernel(CudaTreatment args) {
  __shared__ float values[1024];
  const TreatedRow row = RowOfThreadBlock(args);
  const uint32_t dim = args.cache.head_dim;
  const uint32_t half = dim / 2;
  const uint32_t d = threadIdx.x;
  if (d < dim) values[d] = Element<kType>::Widen(CacheRow<kType>(row)[d]);
  __syncthreads();
  float x = d < dim ? values[d] : 0.0f;
  if (row.steps.cosines >= 0 && d < dim) {
    const uint64_t at = static_cast<uint64_t>(row.position) * half + d % half;
    x = Turned(values, d, half, args.numbers[row.steps.cosines + at],
               -args.numbers[row.steps.sines + at]);
  }
  if (row.steps.means >= 0 && d < dim) {
    x = __fsub_rn(x, args.numbers[row.steps.means + row.head * dim + d]);
  }
  __syncthreads();
  if (d < dim) values[d] = x;
  if (row.steps.has_transform != 0) TransformShared(values, dim);
  if (d < dim) row.treated[d] = values[d];
}

template <DType kType>
__global__ void UntreatKernel(CudaTreatment args) {
  __shared__ float values[1024];
  const TreatedRow row = RowOfThreadBlock(args);
  const uint32_t dim = args.cache.head_dim;
  const uint32_t half = dim / 2;
  const uint32_t d = threadIdx.x;
  if (d < dim) values[d] = row.treated[d];
  if (row.steps.has_transform != 0) {
    TransformShared(values, dim);
    if (d < dim) values[d] = __fmul_rn(values[d], __fdiv_rn(1.0f, static_cast<float>(dim)));
  }
  if (row.steps.means >= 0 && d < dim) {
    values[d] = __fadd_rn(values[d], args.numbers[row.steps.means + row.head * dim + d]);
  }
  __syncthreads();
  if (d >= dim) return;
  float x = values[d];
  if (row.steps.cosines >= 0) {
    const uint64_t at = static_cast<uint64_t>(row.position) * half + d % half;
    x = Turned(values, d, half, args.numbers[row.steps.cosines + at],
               args.numbers[row.steps.sines + at]);
  }
  CacheRow<kType>(row)[d] = Element<kType>::Narrow(x);
}

dim3 TreatmentGrid(const CudaBlocks& cache) {
  return dim3(cache.num_tokens * cache.num_heads, cache.num_blocks);
}

uint32_t ThreadsOfRow(const CudaBlocks& cache) { return (cache.head_dim + 31) / 32 * 32; }

}  // namespace

int LaunchTreat(const CudaTreatment& args, CUstream_st* stream) {
  return ForDType(args.cache.dtype, [&]<DType kType>() -> int {
    TreatKernel<kType><<<TreatmentGrid(args.cache), ThreadsOfRow(args.cache), 0, stream>>>(args);
    return cudaGetLastError();
  });
}

int LaunchUntreat(const CudaTreatment& args, CUstream_st* stream) {
  return ForDType(args.cache.dtype, [&]<DType kType>() -> int {
    UntreatKernel<kType><<<TreatmentGrid(args.cache), ThreadsOfRow(args.cache), 0, stream>>>(args);
    return cudaGetLastError();
  });
}

}  // namespace qc2c
