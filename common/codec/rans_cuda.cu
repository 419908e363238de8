#include <cuda_runtime.h>

#include "common/codec/rans_cuda.h"
#include "common/codec/rans_segment_decoder.h"
#include "common/codec/rans_segment_encoder.h"
#include "common/codec/warp_cuda.cuh"

namespace qc2c {
namespace {

constexpr uint32_t kWarpsPerBlock = 4;
constexpr uint32_t kThreads = kWarpsPerBlock * DeviceWarp::kLanes;
constexpr uint32_t kPlaceThreads = 1024;

uint32_t NumBlocks(uint32_t num_segments) {
  return (num_segments + kWarpsPerBlock - 1) / kWarpsPerBlock;
}

__global__ void __launch_bounds__(kThreads) DecodeKernel(CudaRansDecoding args) {
  using Packer = CodePacker<DeviceWarp>;
  __shared__ uint8_t rings[kWarpsPerBlock][Packer::kRingCodes];
  const uint32_t in_block = threadIdx.x / DeviceWarp::kLanes;
  const uint32_t number = blockIdx.x * kWarpsPerBlock + in_block;
  if (number >= args.segments.num_segments) return;
  const RansSegment segment = args.segments.segments[number];
  const RansKind kind = args.segments.kinds[segment.kind];
  const DeviceWarp warp{};
  RansSegmentDecoder<DeviceWarp> decoder(warp, kind, rings[in_block]);
  const bool is_coding =
      decoder.Decode(args.coded + segment.coded_offset, segment.coded_bytes, segment.num_symbols,
                     args.codes + segment.codes_offset, segment.codes_bytes);
  if (!is_coding) args.faults[number] = 1;
}

__global__ void __launch_bounds__(kThreads) EncodeKernel(CudaRansEncoding args) {
  using Encoder = RansSegmentEncoder<DeviceWarp>;
  __shared__ uint32_t scratch[kWarpsPerBlock][Encoder::Choice::kScratch];
  const uint32_t in_block = threadIdx.x / DeviceWarp::kLanes;
  const uint32_t number = blockIdx.x * kWarpsPerBlock + in_block;
  if (number >= args.segments.num_segments) return;
  const RansSegment segment = args.segments.segments[number];
  const RansKind kind = args.segments.kinds[segment.kind];
  const DeviceWarp warp{};
  Encoder encoder(warp, kind, args.codes + segment.codes_offset, segment.codes_bytes,
                  segment.num_symbols, scratch[in_block]);
  const CodedSegment made = encoder.Encode(args.slots + segment.coded_offset);
  if (threadIdx.x % DeviceWarp::kLanes == 0) args.made[number] = made;
}

// One block: the sum of what is before each segment.
__global__ void __launch_bounds__(kPlaceThreads) PlaceKernel(CudaRansEncoding args) {
  __shared__ uint64_t sums[kPlaceThreads];
  uint64_t before = 0;
  for (uint32_t first = 0; first < args.segments.num_segments; first += kPlaceThreads) {
    const uint32_t number = first + threadIdx.x;
    const bool is_inside = number < args.segments.num_segments;
    const uint32_t prefix = is_inside ? args.segments.segments[number].prefix_bytes : 0;
    const uint32_t bytes = is_inside ? args.made[number].bytes : 0;
    sums[threadIdx.x] = prefix + bytes;
    for (uint32_t step = 1; step < kPlaceThreads; step *= 2) {
      __syncthreads();
      const uint64_t earlier = threadIdx.x >= step ? sums[threadIdx.x - step] : 0;
      __syncthreads();
      sums[threadIdx.x] += earlier;
    }
    __syncthreads();
    if (is_inside) args.places[number] = before + sums[threadIdx.x] - bytes;
    before += sums[kPlaceThreads - 1];
    __syncthreads();
  }
  if (threadIdx.x == 0) args.places[args.segments.num_segments] = before;
}

// A block a segment: copies `bytes`, whole words where the target has whole words.
__device__ void CopyBytes(const uint8_t* from, uint32_t bytes, uint8_t* to) {
  const uint32_t to_word = static_cast<uint32_t>(-reinterpret_cast<uintptr_t>(to)) % 4;
  const uint32_t head = min(to_word, bytes);
  const uint32_t num_words = (bytes - head) / 4;
  if (threadIdx.x < head) to[threadIdx.x] = from[threadIdx.x];
  auto* const words = reinterpret_cast<uint32_t*>(to + head);
  for (uint32_t i = threadIdx.x; i < num_words; i += kThreads) {
    const uint8_t* const four = from + head + 4 * i;
    words[i] = four[0] | static_cast<uint32_t>(four[1]) << 8 |
               static_cast<uint32_t>(four[2]) << 16 | static_cast<uint32_t>(four[3]) << 24;
  }
  const uint32_t tail = head + 4 * num_words + threadIdx.x;
  if (tail < bytes) to[tail] = from[tail];
}

__global__ void __launch_bounds__(kThreads) GatherKernel(CudaRansEncoding args) {
  const RansSegment segment = args.segments.segments[blockIdx.x];
  const RansKind kind = args.segments.kinds[segment.kind];
  const CodedSegment made = args.made[blockIdx.x];
  uint8_t* const to = args.coded + args.places[blockIdx.x];
  if (threadIdx.x < segment.prefix_bytes) {
    (to - segment.prefix_bytes)[threadIdx.x] = static_cast<uint8_t>(made.bytes >> 8 * threadIdx.x);
  }
  if (made.header_bytes == 0) {
    if (threadIdx.x == 0) *to = kStoredSegment;
    CopyBytes(args.codes + segment.codes_offset, segment.codes_bytes, to + 1);
    return;
  }
  const uint32_t stream =
      RansHeaderRoom(kind.num_channels, kind.MayChooseByChannel(segment.num_symbols));
  CopyBytes(args.slots + segment.coded_offset + stream - made.header_bytes, made.bytes, to);
}

}  // namespace

int LaunchRansDecode(const CudaRansDecoding& decoding, CUstream_st* stream) {
  if (decoding.segments.num_segments == 0) return cudaSuccess;
  DecodeKernel<<<NumBlocks(decoding.segments.num_segments), kThreads, 0, stream>>>(decoding);
  return cudaGetLastError();
}

int LaunchRansEncode(const CudaRansEncoding& encoding, CUstream_st* stream) {
  if (encoding.segments.num_segments == 0) return cudaSuccess;
  EncodeKernel<<<NumBlocks(encoding.segments.num_segments), kThreads, 0, stream>>>(encoding);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  PlaceKernel<<<1, kPlaceThreads, 0, stream>>>(encoding);
  return cudaGetLastError();
}

int LaunchRansGather(const CudaRansEncoding& encoding, CUstream_st* stream) {
  if (encoding.segments.num_segments == 0) return cudaSuccess;
  GatherKernel<<<encoding.segments.num_segments, kThreads, 0, stream>>>(encoding);
  return cudaGetLastError();
}

}  // namespace qc2c
