#include <cuda_runtime.h>

#include "common/codec/rows_cuda.cuh"
#include "common/codec/selection_cuda.h"

namespace qc2c {
namespace {

constexpr uint32_t kSelectThreads = 1024;
constexpr uint32_t kBuckets = 256;

// layer_means: eight lanes a (layer, token), lane j holding the partial sum of d mod 8 == j.
template <DType kType>
__global__ void LayerMeansKernel(CudaScoring args) {
  const uint32_t token = blockIdx.x * kRowsPerBlock + threadIdx.x / kLanes;
  if (token >= args.num_tokens) return;
  const uint32_t lane = threadIdx.x % kLanes;
  const uint32_t group = 0xffu << (threadIdx.x & 24u);
  const CudaBlock block = args.blocks[blockIdx.y];
  const auto* row =
      static_cast<const typename Element<kType>::Bits*>(block.plane) + token * block.token_stride;
  uint32_t max = 0;
  float norms = 0.0f;
  for (uint32_t h = 0; h < args.num_heads; ++h, row += block.head_stride) {
    float sum = 0.0f;
    for (uint32_t d = lane; d < args.head_dim; d += kLanes) {
      const float x = Element<kType>::Widen(row[d]);
      max = ::max(max, __float_as_uint(x) & 0x7fffffffu);
      sum = __fadd_rn(sum, __fmul_rn(x, x));
    }
    // (s0 + s4) ..., then + (s2 + s6), then the odd ones: every lane ends with the same bits.
    for (uint32_t step = kLanes / 2; step > 0; step /= 2) {
      sum = __fadd_rn(sum, __shfl_xor_sync(group, sum, step));
    }
    norms = __fadd_rn(norms, __fsqrt_rn(sum));
  }
  if (max >= kDeviceNotFiniteBits) atomicOr(args.faults + blockIdx.y, kDeviceNotFinite);
  if (lane == 0) {
    args.layer_means[static_cast<uint64_t>(blockIdx.y) * args.num_tokens + token] =
        __fdiv_rn(norms, static_cast<float>(args.num_heads));
  }
}

__global__ void TakeGivenKernel(CudaScoring args) {
  const uint32_t token = blockIdx.x * kThreadsPerBlock + threadIdx.x;
  if (token >= args.num_tokens) return;
  const float score = static_cast<const float*>(args.blocks[blockIdx.y].plane)[token];
  // A sign makes the bits larger still.
  if (__float_as_uint(score) >= kDeviceNotFiniteBits) {
    atomicOr(args.faults + blockIdx.y, kDeviceNotFinite);
  }
  args.layer_means[static_cast<uint64_t>(blockIdx.y) * args.num_tokens + token] = score;
}

__global__ void SumLayersKernel(CudaScoring args) {
  const uint32_t token = blockIdx.x * kThreadsPerBlock + threadIdx.x;
  if (token >= args.num_tokens) return;
  float score = 0.0f;
  for (uint32_t l = 0; l < args.num_layers; ++l) {
    score = __fadd_rn(score, args.layer_means[static_cast<uint64_t>(l) * args.num_tokens + token]);
  }
  args.scores[token] = score;
}

// How many threads before this one said yes, and how many said so in all.
__device__ uint32_t RankInBlock(bool yes, uint32_t* warp_counts, uint32_t& total) {
  const uint32_t warp = threadIdx.x / 32;
  const uint32_t lane = threadIdx.x % 32;
  const uint32_t ballot = __ballot_sync(0xffffffffu, yes);
  if (lane == 0) warp_counts[warp] = __popc(ballot);
  __syncthreads();
  uint32_t before = 0;
  total = 0;
  for (uint32_t w = 0; w < kSelectThreads / 32; ++w) {
    if (w < warp) before += warp_counts[w];
    total += warp_counts[w];
  }
  __syncthreads();
  return before + __popc(ballot & ((1u << lane) - 1));
}

// The num_kept-th largest score's bits (scores are not negative, so bits order like values), and in
// `ties` how many of the scores equal to it are kept. One byte at a time, from the top.
__device__ uint32_t FindThreshold(const CudaScoring& args, uint32_t* counts, uint32_t* found,
                                  uint32_t& ties) {
  uint32_t prefix = 0;
  uint32_t mask = 0;
  ties = args.num_kept;
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (uint32_t i = threadIdx.x; i < kBuckets; i += kSelectThreads) counts[i] = 0;
    __syncthreads();
    for (uint32_t t = threadIdx.x; t < args.num_tokens; t += kSelectThreads) {
      const uint32_t bits = __float_as_uint(args.scores[t]);
      if ((bits & mask) == prefix) atomicAdd(counts + ((bits >> shift) & 0xffu), 1u);
    }
    __syncthreads();
    for (uint32_t step = 1; step < kBuckets; step *= 2) {  // counts[i] becomes that of bytes >= i
      const uint32_t i = threadIdx.x;
      const uint32_t above = i + step < kBuckets ? counts[i + step] : 0;
      __syncthreads();
      if (i < kBuckets) counts[i] += above;
      __syncthreads();
    }
    if (threadIdx.x < kBuckets) {
      const uint32_t above = threadIdx.x + 1 < kBuckets ? counts[threadIdx.x + 1] : 0;
      if (counts[threadIdx.x] >= ties && above < ties) {
        found[0] = threadIdx.x;
        found[1] = above;
      }
    }
    __syncthreads();
    prefix |= found[0] << shift;
    mask |= 0xffu << shift;
    ties -= found[1];
    __syncthreads();
  }
  return prefix;
}

// One block a set: a prompt is a few thousand scores, and a single launch beats a faster sort of
// several.
__global__ void SelectKernel(CudaScoring args) {
  __shared__ uint32_t counts[kBuckets];
  __shared__ uint32_t found[2];
  __shared__ uint32_t warp_counts[kSelectThreads / 32];
  args.scores += static_cast<uint64_t>(blockIdx.x) * args.num_tokens;
  args.positions += static_cast<uint64_t>(blockIdx.x) * args.num_kept;
  uint32_t ties = 0;
  const uint32_t threshold = FindThreshold(args, counts, found, ties);
  uint32_t ties_seen = 0;
  uint32_t written = 0;
  for (uint32_t start = 0; start < args.num_tokens; start += kSelectThreads) {
    const uint32_t token = start + threadIdx.x;
    const bool inside = token < args.num_tokens;
    const uint32_t bits = inside ? __float_as_uint(args.scores[token]) : 0;
    const bool tie = inside && bits == threshold;
    uint32_t total = 0;
    const uint32_t tie_rank = ties_seen + RankInBlock(tie, warp_counts, total);
    ties_seen += total;
    const bool kept = inside && (bits > threshold || (tie && tie_rank < ties));
    const uint32_t rank = written + RankInBlock(kept, warp_counts, total);
    written += total;
    if (kept) args.positions[rank] = token;
  }
}

}  // namespace

int LaunchSelectByScore(const CudaScoring& scoring, CUstream_st* stream) {
  const dim3 rows((scoring.num_tokens + kRowsPerBlock - 1) / kRowsPerBlock, scoring.num_layers);
  const dim3 tokens((scoring.num_tokens + kThreadsPerBlock - 1) / kThreadsPerBlock,
                    scoring.num_layers);
  if (scoring.source == CudaScoring::Source::kGiven) {
    TakeGivenKernel<<<tokens, kThreadsPerBlock, 0, stream>>>(scoring);
  } else {
    ForDType(scoring.dtype, [&]<DType kType>() -> int {
      LayerMeansKernel<kType><<<rows, kThreadsPerBlock, 0, stream>>>(scoring);
      return cudaSuccess;
    });
  }
  if (scoring.index_sets == IndexSets::kOne) {
    SumLayersKernel<<<tokens.x, kThreadsPerBlock, 0, stream>>>(scoring);
    SelectKernel<<<1, kSelectThreads, 0, stream>>>(scoring);
  } else {
    CudaScoring by_layer = scoring;
    by_layer.scores = scoring.layer_means;
    SelectKernel<<<scoring.num_layers, kSelectThreads, 0, stream>>>(by_layer);
  }
  return cudaGetLastError();
}

}  // namespace qc2c
