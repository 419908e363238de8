#include <cuda_runtime.h>

#include "common/codec/fp8.h"
#include "common/codec/packing_cuda.cuh"

namespace qc2c {
namespace {

constexpr uint32_t kByte = 8;

template <DType kType, typename Format>
__global__ void EncodeFp8Kernel(CudaBlocks args) {
  const RowPlace place = PlaceOfThread(args);
  if (!place.active) return;
  const CudaBlock block = args.blocks[blockIdx.y];
  const auto* const row = RowOf<kType>(args, block, place);
  const uint32_t dim = args.head_dim;
  uint8_t* const out = args.data + block.codes_offset + static_cast<uint64_t>(place.row) * dim;
  uint32_t max = 0;
  for (uint32_t d = place.lane * kChunk; d < dim; d += kLanes * kChunk) {
    float values[kChunk];
    LoadChunk<kType>(row + d, dim - d, args.access, values);
    max = ::max(max, ChunkMax(values));
    uint32_t codes[kChunk];
#pragma unroll
    for (uint32_t i = 0; i < kChunk; ++i) codes[i] = Format::Narrow(__float_as_uint(values[i]));
    PackChunk<kByte, 0>(codes, dim - d, args.access, out + d);
  }
  if (max >= Format::kFirstOverflow) {
    atomicOr(args.faults + blockIdx.y,
             max >= kDeviceNotFiniteBits ? kDeviceNotFinite : kDeviceOutOfRange);
  }
}

template <DType kType, typename Format>
__global__ void DecodeFp8Kernel(CudaBlocks args) {
  const RowPlace place = PlaceOfThread(args);
  if (!place.active) return;
  const CudaBlock block = args.blocks[blockIdx.y];
  auto* const row = RowOf<kType>(args, block, place);
  const uint32_t dim = args.head_dim;
  const uint8_t* const in = args.data + block.codes_offset + static_cast<uint64_t>(place.row) * dim;
  for (uint32_t d = place.lane * kChunk; d < dim; d += kLanes * kChunk) {
    uint32_t codes[kChunk];
    UnpackChunk<kByte>(in + d, dim - d, args.access, codes);
    float values[kChunk];
#pragma unroll
    for (uint32_t i = 0; i < kChunk; ++i) {
      values[i] = __uint_as_float(Format::Widen(static_cast<uint8_t>(codes[i])));
    }
    StoreChunk<kType>(values, dim - d, args.access, row + d);
  }
}

template <typename Format>
int LaunchEncode(const CudaBlocks& args, CUstream_st* stream) {
  return ForDType(args.dtype, [&]<DType kType>() -> int {
    EncodeFp8Kernel<kType, Format><<<RowGrid(args), kThreadsPerBlock, 0, stream>>>(args);
    return cudaGetLastError();
  });
}

template <typename Format>
int LaunchDecode(const CudaBlocks& args, CUstream_st* stream) {
  return ForDType(args.dtype, [&]<DType kType>() -> int {
    DecodeFp8Kernel<kType, Format><<<RowGrid(args), kThreadsPerBlock, 0, stream>>>(args);
    return cudaGetLastError();
  });
}

}  // namespace

const CudaScheme kFp8E4m3Cuda = {.encode = LaunchEncode<Fp8E4m3>, .decode = LaunchDecode<Fp8E4m3>};
const CudaScheme kFp8E5m2Cuda = {.encode = LaunchEncode<Fp8E5m2>, .decode = LaunchDecode<Fp8E5m2>};

}  // namespace qc2c
