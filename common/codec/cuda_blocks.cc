#include "common/codec/cuda_blocks.h"

#include <algorithm>

namespace qc2c {
namespace {

constexpr int64_t kWordBytes = 16;
constexpr int32_t kChunkValues = 8;

bool HasWordAlignedRows(const CudaBlock& block, int64_t element_bytes) {
  return reinterpret_cast<uintptr_t>(block.plane) % kWordBytes == 0 &&
         block.token_stride * element_bytes % kWordBytes == 0 &&
         block.head_stride * element_bytes % kWordBytes == 0;
}

}  // namespace

std::vector<CudaBlockGroup> GroupBlocks(const KvFrame& frame) {
  std::vector<CudaBlockGroup> groups;
  for (size_t i = 0; i < frame.blocks.size(); ++i) {
    const CodecSpec own = frame.codec.Of(frame.blocks[i].layer, frame.blocks[i].half);
    const auto known = std::ranges::find(groups, own, &CudaBlockGroup::codec);
    if (known != groups.end()) {
      known->blocks.push_back(i);
    } else {
      groups.push_back({own, {i}});
    }
  }
  return groups;
}

std::vector<CudaBlock> BlockTable(const KvFrame& frame, std::span<const CudaBlockGroup> groups,
                                  const KvCacheView& cache) {
  std::vector<KvTensorId> tensors;
  for (const CudaBlockGroup& group : groups) {
    for (const size_t i : group.blocks) {
      tensors.push_back({frame.blocks[i].layer, frame.blocks[i].half});
    }
  }
  std::vector<CudaBlock> table = PlaneTable(tensors, cache);
  size_t entry = 0;
  for (const CudaBlockGroup& group : groups) {
    for (const size_t i : group.blocks) {
      table[entry].codes_offset = frame.blocks[i].codes_offset;
      table[entry].scales_offset = frame.blocks[i].scales_offset;
      table[entry].zero_points_offset = frame.blocks[i].zero_points_offset;
      table[entry].first_position = frame.FirstPosition(frame.blocks[i].layer);
      ++entry;
    }
  }
  return table;
}

std::vector<CudaBlock> PlaneTable(std::span<const KvTensorId> tensors, const KvCacheView& cache) {
  std::vector<CudaBlock> table;
  table.reserve(tensors.size());
  for (const auto& [layer, half] : tensors) {
    const KvPlane& plane = cache.Plane(layer, half);
    table.push_back({.plane = plane.data,
                     .token_stride = plane.token_stride,
                     .head_stride = plane.head_stride});
  }
  return table;
}

CudaBlocks BlocksOf(const KvFrame& frame, const CudaBlockGroup& group, const KvCacheView& cache,
                    std::span<const CudaBlock> table, size_t first) {
  const int64_t element_bytes = DTypeBytes(cache.dtype);
  const bool vectors =
      cache.layout.head_dim % kChunkValues == 0 &&
      std::ranges::all_of(table.subspan(first, group.blocks.size()), [&](const CudaBlock& block) {
        return HasWordAlignedRows(block, element_bytes);
      });
  return {.num_blocks = static_cast<uint32_t>(group.blocks.size()),
          .num_heads = static_cast<uint32_t>(frame.layout.num_kv_heads),
          .head_dim = static_cast<uint32_t>(frame.layout.head_dim),
          .num_tokens = frame.num_kept(),
          .dtype = cache.dtype,
          .access = vectors ? RowAccess::kVector : RowAccess::kScalar,
          .scaling = group.codec.scaling()};
}

}  // namespace qc2c
