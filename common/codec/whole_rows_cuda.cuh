// The common case of the schemes with scales on the GPU: D = 64 or 128, with an fp16 scale a
// token. Several chunks of a row to a lane, so that what a row costs (its place, its scale,
// divisions) is shared by 32 or 16 values: it is most of the work. The sums are those of
// scale_rule.h.
#pragma once

#include <cuda_runtime.h>

#include "common/codec/row_codes_cuda.cuh"

namespace qc2c {

constexpr ScaleType kWholeRowScales = ScaleType::kFp16;

inline bool HasWholeRows(const CudaBlocks& args) {
  return args.scaling.axis == Axis::kPerToken && args.scaling.type == kWholeRowScales &&
         args.access == RowAccess::kVector && (args.head_dim == 64 || args.head_dim == 128);
}

constexpr uint32_t kEncodedChunks = 4;  // of a row, to a lane
constexpr uint32_t kDecodedChunks = 2;  // fewer: a lane's stores are wider than its loads

template <uint32_t kRowLanes>
__device__ RowPlace PlaceOfWholeRow(const CudaBlocks& args) {
  constexpr uint32_t kRows = kThreadsPerBlock / kRowLanes;
  return PlaceOfRow<kRowLanes>(args, blockIdx.x * kRows + threadIdx.x / kRowLanes);
}

// Where the c-th chunk of a lane is in its row: two by two, so that their codes are stored
// together.
template <uint32_t kRowLanes>
__device__ uint32_t EncodedChunk(uint32_t lane, uint32_t c) {
  return c / 2 * 2 * kRowLanes + 2 * lane + c % 2;
}

// The statistic of a row, known to each of its lanes.
template <DType kType>
__device__ float RowStatistic(const CudaBlocks& args, Statistic statistic, const RowPlace& place,
                              uint32_t row_lanes, const RawChunk<kType> (&chunks)[kEncodedChunks]) {
  uint32_t max = 0;
#pragma unroll
  for (uint32_t c = 0; c < kEncodedChunks; ++c) max = MaxMagnitudes<kType>(max, chunks[c]);
  const float absmax = LargestOf<kType>(max);
  if (statistic == Statistic::kAbsmax) {
    return LanesStatistic(statistic, absmax, row_lanes, place.group);
  }
  if (__float_as_uint(absmax) >= kDeviceNotFiniteBits) ReportFault(args, kDeviceNotFinite);
  float sums[kEncodedChunks];
#pragma unroll
  for (uint32_t c = 0; c < kEncodedChunks; ++c) {
    float values[kChunk];
    WidenChunk<kType>(chunks[c], values);
    sums[c] = ChunkStatistic(statistic, values);
  }
  // Chunks at even places, and chunks at odd ones.
  const float even = LanesStatistic(statistic, __fadd_rn(sums[0], sums[2]), row_lanes, place.group);
  const float odd = LanesStatistic(statistic, __fadd_rn(sums[1], sums[3]), row_lanes, place.group);
  return __fadd_rn(even, odd);
}

template <DType kType, uint32_t kRowLanes, typename Quantizer>
__global__ void EncodeWholeRowsKernel(CudaBlocks args, Quantizer q) {
  const RowPlace place = PlaceOfWholeRow<kRowLanes>(args);
  if (!place.active) return;
  const RowCodes row = CodesOf<Quantizer::kBits>(args, args.blocks[blockIdx.y], place);
  const auto* const in = RowOf<kType>(args, row.block, place);
  RawChunk<kType> chunks[kEncodedChunks];
#pragma unroll
  for (uint32_t c = 0; c < kEncodedChunks; ++c) {
    chunks[c] = LoadRawChunk<kType>(in + EncodedChunk<kRowLanes>(place.lane, c) * kChunk);
  }
  const float total = RowStatistic<kType>(args, q.Rule().statistic, place, kRowLanes, chunks);
  const float scale = FindScale(args, q, kWholeRowScales, row, total, kRowLanes,
                                kRowLanes * kEncodedChunks * kChunk, place.row);
#pragma unroll
  for (uint32_t c = 0; c < kEncodedChunks; c += 2) {
    uint64_t packed[2];
#pragma unroll
    for (uint32_t i = 0; i < 2; ++i) {
      float values[kChunk];
      WidenChunk<kType>(chunks[c + i], values);
      uint32_t codes[kChunk];
      q.EncodeChunk(values, scale, codes);
      packed[i] = PackedCodes<Quantizer::kBits, Quantizer::kFirstBit>(codes);
    }
    StoreTwoChunks<Quantizer::kBits>(
        packed[0], packed[1],
        row.codes + EncodedChunk<kRowLanes>(place.lane, c) * Quantizer::kBits);
  }
}

// The codes are asked for in a branch of their own: the compiler would else first work out where
// the values go, and memory would wait (a fifth of the time).
template <DType kType, uint32_t kRowLanes, typename Quantizer>
__global__ void DecodeWholeRowsKernel(CudaBlocks args, Quantizer q) {
  const CudaBlock block = args.blocks[blockIdx.y];
  uint32_t codes[kDecodedChunks][kChunk];
  float scale = 0.0f;
  if (const RowPlace place = PlaceOfWholeRow<kRowLanes>(args); place.active) {
    const RowCodes row = CodesOf<Quantizer::kBits>(args, block, place);
    scale = LoadDeviceScale(row.scales, place.row, kWholeRowScales);
#pragma unroll
    for (uint32_t c = 0; c < kDecodedChunks; ++c) {
      UnpackChunk<Quantizer::kBits>(row.codes + (c * kRowLanes + place.lane) * Quantizer::kBits,
                                    kChunk, RowAccess::kVector, codes[c]);
    }
  }
  const RowPlace place = PlaceOfWholeRow<kRowLanes>(args);
  if (!place.active) return;
  auto* const out = RowOf<kType>(args, block, place);
#pragma unroll
  for (uint32_t c = 0; c < kDecodedChunks; ++c) {
    float values[kChunk];
#pragma unroll
    for (uint32_t i = 0; i < kChunk; ++i) values[i] = q.DecodeValue(codes[c][i], scale);
    StoreChunk<kType>(values, kChunk, RowAccess::kVector,
                      out + (c * kRowLanes + place.lane) * kChunk);
  }
}

// Calls launch<DType, lanes of a row>(grid) for the run-time dtype and D, kChunks of a row going to
// each lane.
template <uint32_t kChunks, typename Launch>
int ForWholeRows(const CudaBlocks& args, Launch launch) {
  constexpr uint32_t kLanesOf64 = 64 / kChunk / kChunks;
  const uint32_t row_lanes = args.head_dim / kChunk / kChunks;
  const uint32_t rows_of_block = kThreadsPerBlock / row_lanes;
  const uint32_t rows = args.num_tokens * args.num_heads;
  const dim3 grid((rows + rows_of_block - 1) / rows_of_block, args.num_blocks);
  return ForDType(args.dtype, [&]<DType kType>() -> int {
    if (row_lanes == kLanesOf64) return launch.template operator()<kType, kLanesOf64>(grid);
    return launch.template operator()<kType, 2 * kLanesOf64>(grid);
  });
}

// Both queue their work on the stream and return the launch's cudaError_t. REQUIRES: HasWholeRows.
template <typename Quantizer>
int LaunchEncodeWholeRows(const CudaBlocks& args, const Quantizer& q, CUstream_st* stream) {
  return ForWholeRows<kEncodedChunks>(args, [&]<DType kType, uint32_t kRowLanes>(dim3 grid) -> int {
    EncodeWholeRowsKernel<kType, kRowLanes><<<grid, kThreadsPerBlock, 0, stream>>>(args, q);
    return cudaGetLastError();
  });
}

template <typename Quantizer>
int LaunchDecodeWholeRows(const CudaBlocks& args, const Quantizer& q, CUstream_st* stream) {
  return ForWholeRows<kDecodedChunks>(args, [&]<DType kType, uint32_t kRowLanes>(dim3 grid) -> int {
    DecodeWholeRowsKernel<kType, kRowLanes><<<grid, kThreadsPerBlock, 0, stream>>>(args, q);
    return cudaGetLastError();
  });
}

}  // namespace qc2c
