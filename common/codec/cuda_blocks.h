// The device table of a frame's blocks, for both drivers.
#pragma once

#include "common/codec/codec.h"
#include "common/codec/cuda_scheme.h"

namespace qc2c {

// Every region of a workspace starts at a multiple of this.
constexpr size_t AlignRegion(size_t bytes) { return (bytes + 255) / 256 * 256; }

// One entry a block of the frame, in order, pointing into the planes of `cache`.
std::vector<CudaBlock> BlockTable(const KvFrame& frame, const KvCacheView& cache);

// The planes of `tensors` alone.
std::vector<CudaBlock> PlaneTable(std::span<const KvTensorId> tensors, const KvCacheView& cache);

// The launch's shape and access; its pointers are left for the caller.
CudaBlocks BlocksOf(const KvFrame& frame, const KvCacheView& cache,
                    std::span<const CudaBlock> table);

}  // namespace qc2c
