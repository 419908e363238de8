#include <cuda_runtime.h>

#include "common/codec/scales_cuda.cuh"
#include "common/codec/shared_scales_cuda.h"

namespace qc2c {
namespace {

constexpr uint32_t kChannelsPerBlock = 32;
constexpr uint32_t kMaxGridZ = 65535;

__device__ void StoreSharedScale(const CudaBlocks& args, const ScaleRule& rule, float total,
                                 uint64_t num, uint64_t index) {
  const float scale = DeviceScaleOf(rule, total, num, args.scaling.type);
  ReportFault(args, ScaleFault(rule, total, scale));
  StoreDeviceScale(isfinite(scale) ? scale : 0.0f, args.scaling.type, index,
                   args.data + args.blocks[blockIdx.y].scales_offset);
}

// The statistic of each row, into args.row_totals.
template <DType kType>
__global__ void RowTotalsKernel(CudaBlocks args, ScaleRule rule) {
  const RowPlace place = PlaceOfThread(args);
  if (!place.active) return;
  const auto* const row = RowOf<kType>(args, args.blocks[blockIdx.y], place);
  uint32_t max = 0;
  float total = 0.0f;
  for (uint32_t d = place.lane * kChunk; d < args.head_dim; d += kLanes * kChunk) {
    float values[kChunk];
    LoadChunk<kType>(row + d, args.head_dim - d, args.access, values);
    max = ::max(max, ChunkMax(values));
    total = Combine(rule.statistic, total, ChunkStatistic(rule.statistic, values));
  }
  if (max >= kDeviceNotFiniteBits) ReportFault(args, kDeviceNotFinite);
  total = LanesStatistic(rule.statistic, total, kLanes, place.group);
  if (place.lane != 0) return;
  args.row_totals[static_cast<uint64_t>(blockIdx.y) * args.num_tokens * args.num_heads +
                  place.row] = total;
}

// One block a group of rows: blockIdx.x is the head for per_head, 0 for per_layer.
__global__ void RowsScaleKernel(CudaBlocks args, ScaleRule rule) {
  __shared__ float partials[kBlockPartials];
  const bool per_head = args.scaling.axis == Axis::kPerHead;
  const uint32_t stride = per_head ? args.num_heads : 1;
  const uint64_t num_rows = static_cast<uint64_t>(args.num_tokens) * args.num_heads;
  const float* const totals = args.row_totals + blockIdx.y * num_rows;
  float partial = 0.0f;
  for (uint64_t r = blockIdx.x + uint64_t{threadIdx.x} * stride; r < num_rows;
       r += uint64_t{kBlockPartials} * stride) {
    partial = Combine(rule.statistic, partial, totals[r]);
  }
  partials[threadIdx.x] = partial;
  for (uint32_t step = kBlockPartials / 2; step > 0; step /= 2) {
    __syncthreads();
    if (threadIdx.x < step) {
      partials[threadIdx.x] =
          Combine(rule.statistic, partials[threadIdx.x], partials[threadIdx.x + step]);
    }
  }
  if (threadIdx.x != 0) return;
  StoreSharedScale(args, rule, partials[0], num_rows / stride * args.head_dim, blockIdx.x);
}

// The tokens [first, end) of one group, all of them for per_channel. A column of kRowPartials
// threads a channel.
template <DType kType>
__device__ void StoreChannelScales(const CudaBlocks& args, const ScaleRule& rule, uint32_t first,
                                   uint32_t end, uint64_t first_scale,
                                   float (&partials)[kRowPartials][kChannelsPerBlock]) {
  const uint32_t channel = blockIdx.x * kChannelsPerBlock + threadIdx.x;
  const bool inside = channel < args.num_heads * args.head_dim;
  const CudaBlock block = args.blocks[blockIdx.y];
  float partial = 0.0f;
  if (inside) {
    const auto* const plane = static_cast<const typename Element<kType>::Bits*>(block.plane) +
                              channel / args.head_dim * block.head_stride + channel % args.head_dim;
    uint32_t max = 0;
    for (uint32_t t = first + threadIdx.y; t < end; t += kRowPartials) {
      const uint32_t position = PositionOf(args, block, t);
      const float x = fabsf(Element<kType>::Widen(plane[position * block.token_stride]));
      max = ::max(max, __float_as_uint(x));
      partial =
          Combine(rule.statistic, partial, rule.statistic == Statistic::kRms ? __fmul_rn(x, x) : x);
    }
    if (max >= kDeviceNotFiniteBits) ReportFault(args, kDeviceNotFinite);
  }
  partials[threadIdx.y][threadIdx.x] = partial;
  for (uint32_t step = kRowPartials / 2; step > 0; step /= 2) {
    __syncthreads();
    if (threadIdx.y < step) {
      float& mine = partials[threadIdx.y][threadIdx.x];
      mine = Combine(rule.statistic, mine, partials[threadIdx.y + step][threadIdx.x]);
    }
  }
  if (!inside || threadIdx.y != 0) return;
  StoreSharedScale(args, rule, partials[0][threadIdx.x], end - first, first_scale + channel);
}

// blockIdx.z and what follows it in steps: groups of tokens.
template <DType kType>
__global__ void ChannelScaleKernel(CudaBlocks args, ScaleRule rule) {
  __shared__ float partials[kRowPartials][kChannelsPerBlock];
  const bool grouped = args.scaling.axis == Axis::kGroupTokens;
  const uint32_t size = grouped ? args.scaling.group_size : args.num_tokens;
  const uint64_t channels = static_cast<uint64_t>(args.num_heads) * args.head_dim;
  for (uint32_t group = blockIdx.z; group * size < args.num_tokens; group += gridDim.z) {
    const uint32_t first = group * size;
    StoreChannelScales<kType>(args, rule, first, min(first + size, args.num_tokens),
                              group * channels, partials);
    __syncthreads();  // before the next group overwrites the partial sums
  }
}

}  // namespace

int LaunchSharedScales(const CudaBlocks& args, const ScaleRule& rule, CUstream_st* stream) {
  return ForDType(args.dtype, [&]<DType kType>() -> int {
    if (ScalesFollowChannels(args.scaling.axis)) {
      const uint32_t channels = args.num_heads * args.head_dim;
      const uint32_t groups = args.scaling.axis == Axis::kGroupTokens
                                  ? (args.num_tokens - 1) / args.scaling.group_size + 1
                                  : 1;
      const dim3 grid((channels + kChannelsPerBlock - 1) / kChannelsPerBlock, args.num_blocks,
                      groups < kMaxGridZ ? groups : kMaxGridZ);
      ChannelScaleKernel<kType>
          <<<grid, dim3(kChannelsPerBlock, kRowPartials), 0, stream>>>(args, rule);
      return cudaGetLastError();
    }
    RowTotalsKernel<kType><<<RowGrid(args), kThreadsPerBlock, 0, stream>>>(args, rule);
    const dim3 groups(args.scaling.axis == Axis::kPerHead ? args.num_heads : 1, args.num_blocks);
    RowsScaleKernel<<<groups, kBlockPartials, 0, stream>>>(args, rule);
    return cudaGetLastError();
  });
}

}  // namespace qc2c
