// rANS coding of codes on a GPU, a warp a segment: the bytes of EncodeCodes and the codes of
// DecodeCodes (entropy.h). Free of abseil and of CUDA headers. All pointers are device memory.
#pragma once

#include <cstdint>

#include "common/codec/rans_segment.h"

struct CUstream_st;  // cudaStream_t is a pointer to it

namespace qc2c {

struct CudaRansSegments {
  const RansKind* kinds = nullptr;        // their tables are device memory too (rans_tables_cuda.h)
  const RansSegment* segments = nullptr;  // [num_segments]
  uint32_t num_segments = 0;
};

struct CudaRansDecoding {
  CudaRansSegments segments;
  const uint8_t* coded = nullptr;
  uint8_t* codes = nullptr;
  uint32_t* faults = nullptr;  // [num_segments], zero before: not 0 where `coded` is no coding
};

struct CudaRansEncoding {
  CudaRansSegments segments;
  const uint8_t* codes = nullptr;
  uint8_t* slots = nullptr;      // scratch
  CodedSegment* made = nullptr;  // [num_segments]
  // [num_segments + 1]: where each segment begins in `coded`, behind the length before it; then the
  // bytes of all.
  uint64_t* places = nullptr;
  uint8_t* coded = nullptr;  // the segments with their lengths, one after another
};

// Each queues its work on the stream; the launches' cudaError_t. Codes may have any address.
int LaunchRansDecode(const CudaRansDecoding& decoding, CUstream_st* stream);
// Slots, what was made and the places; then, `coded` having room for them, the segments.
int LaunchRansEncode(const CudaRansEncoding& encoding, CUstream_st* stream);
int LaunchRansGather(const CudaRansEncoding& encoding, CUstream_st* stream);

}  // namespace qc2c
