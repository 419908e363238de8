#include <cuda_runtime.h>

#include "common/codec/rows_cuda.cuh"

namespace qc2c {
namespace {

template <DType kStored>
__device__ uint32_t FirstOverflow() {
  return kStored == DType::kFp32   ? kDeviceNotFiniteBits
         : kStored == DType::kBf16 ? 0x7f7f8000u
                                   : 0x477ff000u;  // 65520
}

template <DType kType, DType kStored>
__global__ void EncodeFloatKernel(CudaBlocks args) {
  const RowPlace place = PlaceOfThread(args);
  if (!place.active) return;
  const CudaBlock block = args.blocks[blockIdx.y];
  const auto* const row = RowOf<kType>(args, block, place);
  const uint32_t dim = args.head_dim;
  auto* const out =
      reinterpret_cast<typename Element<kStored>::Bits*>(args.data + block.codes_offset) +
      static_cast<uint64_t>(place.row) * dim;
  uint32_t max = 0;
  for (uint32_t d = place.lane * kChunk; d < dim; d += kLanes * kChunk) {
    float values[kChunk];
    LoadChunk<kType>(row + d, dim - d, args.access, values);
    max = ::max(max, ChunkMax(values));
    StoreChunk<kStored>(values, dim - d, args.access, out + d);
  }
  if (max >= FirstOverflow<kStored>()) {
    atomicOr(args.faults + blockIdx.y,
             max >= kDeviceNotFiniteBits ? kDeviceNotFinite : kDeviceOutOfRange);
  }
}

template <DType kType, DType kStored>
__global__ void DecodeFloatKernel(CudaBlocks args) {
  const RowPlace place = PlaceOfThread(args);
  if (!place.active) return;
  const CudaBlock block = args.blocks[blockIdx.y];
  auto* const row = RowOf<kType>(args, block, place);
  const uint32_t dim = args.head_dim;
  const auto* const in =
      reinterpret_cast<const typename Element<kStored>::Bits*>(args.data + block.codes_offset) +
      static_cast<uint64_t>(place.row) * dim;
  for (uint32_t d = place.lane * kChunk; d < dim; d += kLanes * kChunk) {
    float values[kChunk];
    LoadChunk<kStored>(in + d, dim - d, args.access, values);
    StoreChunk<kType>(values, dim - d, args.access, row + d);
  }
}

template <DType kStored>
int LaunchEncode(const CudaBlocks& args, CUstream_st* stream) {
  return ForDType(args.dtype, [&]<DType kType>() -> int {
    EncodeFloatKernel<kType, kStored><<<RowGrid(args), kThreadsPerBlock, 0, stream>>>(args);
    return cudaGetLastError();
  });
}

template <DType kStored>
int LaunchDecode(const CudaBlocks& args, CUstream_st* stream) {
  return ForDType(args.dtype, [&]<DType kType>() -> int {
    DecodeFloatKernel<kType, kStored><<<RowGrid(args), kThreadsPerBlock, 0, stream>>>(args);
    return cudaGetLastError();
  });
}

}  // namespace

const CudaScheme kFp32Cuda = {.encode = LaunchEncode<DType::kFp32>,
                              .decode = LaunchDecode<DType::kFp32>};
const CudaScheme kBf16Cuda = {.encode = LaunchEncode<DType::kBf16>,
                              .decode = LaunchDecode<DType::kBf16>};
const CudaScheme kFp16Cuda = {.encode = LaunchEncode<DType::kFp16>,
                              .decode = LaunchDecode<DType::kFp16>};

}  // namespace qc2c
