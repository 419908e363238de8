#include "common/codec/scales_cuda.cuh"
#include "common/codec/zero_point_cuda.h"

namespace qc2c {
namespace {

constexpr uint32_t kThreads = 256;

// Numbers that order like the floats they stand for.
__device__ uint32_t Ordered(float x) {
  const uint32_t bits = __float_as_uint(x);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}

__device__ float FromOrdered(uint32_t number) {
  return __uint_as_float((number >> 31) != 0 ? number & 0x7fffffffu : ~number);
}

__device__ uint64_t ValuesOfBlock(const CudaBlocks& blocks) {
  return static_cast<uint64_t>(blocks.num_tokens) * blocks.num_heads * blocks.head_dim;
}

// The scale of the i-th value of a block.
__device__ uint64_t ScaleOfValue(const CudaBlocks& blocks, uint64_t i) {
  const uint64_t row = i / blocks.head_dim;
  return ScaleIndex(blocks.scaling, row / blocks.num_heads, row % blocks.num_heads,
                    i % blocks.head_dim, blocks.num_heads, blocks.head_dim);
}

__device__ uint8_t* ZeroPointsOfBlock(const CudaBlocks& blocks) {
  return blocks.data + blocks.blocks[blockIdx.y].zero_points_offset;
}

// The least Ordered(x), and the least complement of one: all bits are set before.
__global__ void RangeKernel(CudaZeroPoints args) {
  const uint64_t i = static_cast<uint64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const uint64_t num_values = ValuesOfBlock(args.blocks);
  if (i >= num_values) return;
  const float x = args.treated[blockIdx.y * num_values + i];
  if (isnan(x)) return;
  uint32_t* const range =
      args.ranges + 2 * (blockIdx.y * args.num_scales + ScaleOfValue(args.blocks, i));
  atomicMin(range, Ordered(x));
  atomicMin(range + 1, ~Ordered(x));
}

__global__ void MidpointKernel(CudaZeroPoints args) {
  const uint64_t i = static_cast<uint64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= args.num_scales) return;
  const uint32_t* const range = args.ranges + 2 * (blockIdx.y * args.num_scales + i);
  const float min = FromOrdered(range[0]);
  const float max = FromOrdered(~range[1]);
  const bool finite = isfinite(min) && isfinite(max);
  const float middle = __fadd_rn(__fadd_rn(__fmul_rn(0.5f, min), __fmul_rn(0.5f, max)), 0.0f);
  const ScaleType type = args.blocks.scaling.type;
  uint8_t* const zero_points = ZeroPointsOfBlock(args.blocks);
  StoreDeviceScale(finite ? middle : 0.0f, type, i, zero_points);
  if (!finite) ReportFault(args.blocks, kDeviceNotFinite);
  if (isfinite(LoadDeviceScale(zero_points, i, type))) return;
  ReportFault(args.blocks, kDeviceOutOfRange);
  // Infinity taken off would look like a value that is not finite.
  StoreDeviceScale(0.0f, type, i, zero_points);
}

template <bool kTake>
__global__ void ShiftKernel(CudaZeroPoints args) {
  const uint64_t i = static_cast<uint64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const uint64_t num_values = ValuesOfBlock(args.blocks);
  if (i >= num_values) return;
  const float zero_point = LoadDeviceScale(ZeroPointsOfBlock(args.blocks),
                                           ScaleOfValue(args.blocks, i), args.blocks.scaling.type);
  float& value = args.treated[blockIdx.y * num_values + i];
  value = kTake ? __fsub_rn(value, zero_point) : __fadd_rn(value, zero_point);
}

dim3 GridOf(const CudaZeroPoints& args, uint64_t num) {
  return dim3(static_cast<uint32_t>((num + kThreads - 1) / kThreads), args.blocks.num_blocks);
}

uint64_t NumValues(const CudaBlocks& blocks) {
  return static_cast<uint64_t>(blocks.num_tokens) * blocks.num_heads * blocks.head_dim;
}

}  // namespace

int LaunchTakeZeroPoints(const CudaZeroPoints& args, CUstream_st* stream) {
  const size_t ranges = 2 * sizeof(uint32_t) * args.num_scales * args.blocks.num_blocks;
  const cudaError_t error = cudaMemsetAsync(args.ranges, 0xff, ranges, stream);
  if (error != cudaSuccess) return error;
  RangeKernel<<<GridOf(args, NumValues(args.blocks)), kThreads, 0, stream>>>(args);
  MidpointKernel<<<GridOf(args, args.num_scales), kThreads, 0, stream>>>(args);
  ShiftKernel<true><<<GridOf(args, NumValues(args.blocks)), kThreads, 0, stream>>>(args);
  return cudaGetLastError();
}

int LaunchAddZeroPoints(const CudaZeroPoints& args, CUstream_st* stream) {
  ShiftKernel<false><<<GridOf(args, NumValues(args.blocks)), kThreads, 0, stream>>>(args);
  return cudaGetLastError();
}

}  // namespace qc2c
