// The device table of a frame's blocks, for both drivers.
#pragma once

#include "common/codec/codec.h"
#include "common/codec/cuda_scheme.h"

namespace qc2c {

// Every region of a workspace starts at a multiple of this.
constexpr size_t AlignRegion(size_t bytes) { return (bytes + 255) / 256 * 256; }

// The blocks of one precision, which one launch works on. `codec` has no schedule.
struct CudaBlockGroup {
  CodecSpec codec;
  std::vector<size_t> blocks;  // indices into KvFrame::blocks, ascending
};

// Every block of the frame once; a single group without a schedule.
std::vector<CudaBlockGroup> GroupBlocks(const KvFrame& frame);

// One entry a block, group by group, pointing into the planes of `cache`.
std::vector<CudaBlock> BlockTable(const KvFrame& frame, std::span<const CudaBlockGroup> groups,
                                  const KvCacheView& cache);

// The planes of `tensors` alone.
std::vector<CudaBlock> PlaneTable(std::span<const KvTensorId> tensors, const KvCacheView& cache);

// The shape and access of one group's launch, whose part of the table begins at entry `first`; its
// pointers are left for the caller.
CudaBlocks BlocksOf(const KvFrame& frame, const CudaBlockGroup& group, const KvCacheView& cache,
                    std::span<const CudaBlock> table, size_t first);

}  // namespace qc2c
