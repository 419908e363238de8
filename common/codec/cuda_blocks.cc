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

std::vector<CudaBlock> BlockTable(const KvFrame& frame, const KvCacheView& cache) {
  std::vector<CudaBlock> table = PlaneTable(frame.layers.Tensors(), cache);
  for (size_t i = 0; i < table.size(); ++i) {
    table[i].codes_offset = frame.blocks[i].codes_offset;
    table[i].scales_offset = frame.blocks[i].scales_offset;
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

CudaBlocks BlocksOf(const KvFrame& frame, const KvCacheView& cache,
                    std::span<const CudaBlock> table) {
  const int64_t element_bytes = DTypeBytes(cache.dtype);
  const bool vectors = cache.layout.head_dim % kChunkValues == 0 &&
                       std::ranges::all_of(table, [&](const CudaBlock& block) {
                         return HasWordAlignedRows(block, element_bytes);
                       });
  return {.num_blocks = static_cast<uint32_t>(table.size()),
          .num_heads = static_cast<uint32_t>(frame.layout.num_kv_heads),
          .head_dim = static_cast<uint32_t>(frame.layout.head_dim),
          .num_tokens = static_cast<uint32_t>(frame.positions.size()),
          .dtype = cache.dtype,
          .access = vectors ? RowAccess::kVector : RowAccess::kScalar,
          .scaling = frame.codec.scaling()};
}

}  // namespace qc2c
