#include <cuda_runtime_api.h>

#include <cstring>

#include "common/base/status_macros.h"
#include "common/codec/cuda_blocks.h"
#include "common/codec/cuda_workspace.h"
#include "common/codec/device_codec.h"
#include "common/codec/fault_status.h"
#include "common/codec/frame_layout.h"
#include "common/codec/scheme_registry.h"
#include "common/codec/selection.h"
#include "common/codec/selection_cuda.h"
#include "common/cuda/cuda_device.h"
#include "common/cuda/cuda_status.h"

namespace qc2c {
namespace {

// Where everything lies in the workspace's device memory. [zeros, data) is cleared before, and
// [faults, end_of_result) is what comes back, in one copy.
struct Regions {
  size_t table = 0;         // CudaBlock [num_blocks]
  size_t zeros = 0;         // group maxima [num_blocks, H]
  size_t faults = 0;        // [num_blocks]
  size_t score_faults = 0;  // [num_layers]
  size_t data = 0;          // KvFrame::data
  size_t positions = 0;     // [num_kept]
  size_t end_of_result = 0;
  size_t scores = 0;       // [num_tokens]
  size_t layer_means = 0;  // [num_layers, num_tokens]
  size_t end = 0;
};

Regions PlaceRegions(const KvFrame& frame) {
  const size_t num_blocks = frame.blocks.size();
  const size_t num_scored = NeedsScores(frame.codec.selection) ? frame.num_tokens : 0;
  Regions r;
  r.zeros = AlignRegion(num_blocks * sizeof(CudaBlock));
  r.faults = r.zeros + AlignRegion(num_blocks * frame.layout.num_kv_heads * sizeof(uint32_t));
  r.score_faults = r.faults + AlignRegion(num_blocks * sizeof(uint32_t));
  r.data = r.score_faults + AlignRegion(frame.layers.size() * sizeof(uint32_t));
  r.positions = r.data + AlignRegion(frame.data.size());
  r.end_of_result = r.positions + AlignRegion(frame.positions.size() * sizeof(uint32_t));
  r.scores = r.end_of_result;
  r.layer_means = r.scores + AlignRegion(num_scored * sizeof(float));
  r.end = r.layer_means + AlignRegion(num_scored * frame.layers.size() * sizeof(float));
  return r;
}

// One encoding on one workspace: queue everything, wait once, read the result.
class Encoding {
 public:
  Encoding(const KvCacheView& cache, KvFrame& frame, CudaWorkspace& workspace)
      : cache_(cache), frame_(frame), workspace_(workspace), regions_(PlaceRegions(frame)) {}

  absl::Status Run() {
    RETURN_IF_ERROR(workspace_.device.Reserve(regions_.end));
    const size_t result_bytes = regions_.end_of_result - regions_.faults;
    const size_t table_bytes = frame_.blocks.size() * sizeof(CudaBlock);
    RETURN_IF_ERROR(workspace_.pinned.Reserve(result_bytes + table_bytes));
    uint8_t* const host_table = workspace_.pinned.data() + result_bytes;
    const std::vector<CudaBlock> table = BlockTable(frame_, cache_);
    std::memcpy(host_table, table.data(), table_bytes);

    RETURN_IF_ERROR(Copy(Device(regions_.table), host_table, table_bytes, cudaMemcpyHostToDevice));
    RETURN_IF_ERROR(CudaStatus(
        cudaMemsetAsync(Device(regions_.zeros), 0, regions_.data - regions_.zeros, Stream()),
        "cudaMemsetAsync"));
    if (NeedsScores(frame_.codec.selection)) RETURN_IF_ERROR(QueueSelection());
    RETURN_IF_ERROR(QueueEncoding(table));
    RETURN_IF_ERROR(Copy(workspace_.pinned.data(), Device(regions_.faults), result_bytes,
                         cudaMemcpyDeviceToHost));
    RETURN_IF_ERROR(workspace_.stream.Synchronize());
    RETURN_IF_ERROR(CheckFaults());
    ReadResult();
    return absl::OkStatus();
  }

 private:
  uint8_t* Device(size_t offset) const { return workspace_.device.data() + offset; }
  template <typename T>
  T* DeviceArray(size_t offset) const {
    return reinterpret_cast<T*>(Device(offset));
  }
  // REQUIRES: the result has arrived; `offset` is one of the result's regions.
  const uint8_t* Result(size_t offset) const {
    return workspace_.pinned.data() + (offset - regions_.faults);
  }
  CUstream_st* Stream() const { return workspace_.stream.get(); }

  absl::Status Copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) const {
    return CudaStatus(cudaMemcpyAsync(to, from, bytes, kind, Stream()), "cudaMemcpyAsync");
  }

  absl::Status QueueSelection() const {
    const CudaScoring scoring = {.blocks = DeviceArray<CudaBlock>(regions_.table),
                                 .num_layers = static_cast<uint32_t>(frame_.layers.size()),
                                 .half = static_cast<uint32_t>(ScoredHalf(frame_.codec.selection)),
                                 .num_tokens = frame_.num_tokens,
                                 .num_heads = static_cast<uint32_t>(frame_.layout.num_kv_heads),
                                 .head_dim = static_cast<uint32_t>(frame_.layout.head_dim),
                                 .dtype = cache_.dtype,
                                 .num_kept = static_cast<uint32_t>(frame_.positions.size()),
                                 .layer_means = DeviceArray<float>(regions_.layer_means),
                                 .scores = DeviceArray<float>(regions_.scores),
                                 .faults = DeviceArray<uint32_t>(regions_.score_faults),
                                 .positions = DeviceArray<uint32_t>(regions_.positions)};
    return CudaStatus(LaunchSelectByNorm(scoring, Stream()), "SelectByNorm");
  }

  absl::Status QueueEncoding(std::span<const CudaBlock> table) const {
    CudaBlocks blocks = BlocksOf(frame_, cache_, table);
    blocks.blocks = DeviceArray<CudaBlock>(regions_.table);
    blocks.data = Device(regions_.data);
    blocks.faults = DeviceArray<uint32_t>(regions_.faults);
    blocks.group_max = DeviceArray<uint32_t>(regions_.zeros);
    if (NeedsScores(frame_.codec.selection)) {
      blocks.positions = DeviceArray<uint32_t>(regions_.positions);
    } else {
      blocks.first_position = frame_.positions.front();
    }
    return CudaStatus(FindCudaScheme(frame_.codec.scheme)->encode(blocks, Stream()), "Encode");
  }

  absl::Status CheckFaults() const {
    for (size_t i = 0; i < frame_.layers.size(); ++i) {
      BlockFaults faults;
      std::memcpy(&faults, Result(regions_.score_faults) + i * sizeof(faults), sizeof(faults));
      RETURN_IF_ERROR(
          FaultStatus(faults, frame_.layers[i], ScoredHalf(frame_.codec.selection), frame_.codec));
    }
    for (size_t i = 0; i < frame_.blocks.size(); ++i) {
      BlockFaults faults;
      std::memcpy(&faults, Result(regions_.faults) + i * sizeof(faults), sizeof(faults));
      const KvBlock& block = frame_.blocks[i];
      RETURN_IF_ERROR(FaultStatus(faults, block.layer, block.half, frame_.codec));
    }
    return absl::OkStatus();
  }

  // Section by section: what lies between them on the GPU is not zero, as a frame promises.
  void ReadResult() {
    const uint8_t* const data = Result(regions_.data);
    uint8_t* const out = frame_.data.data();
    for (const KvBlock& block : frame_.blocks) {
      std::memcpy(out + block.codes_offset, data + block.codes_offset, block.codes_bytes);
      std::memcpy(out + block.scales_offset, data + block.scales_offset, block.scales_bytes);
    }
    if (!NeedsScores(frame_.codec.selection)) return;
    std::memcpy(frame_.positions.data(), Result(regions_.positions),
                frame_.positions.size() * sizeof(uint32_t));
  }

  const KvCacheView& cache_;
  KvFrame& frame_;
  CudaWorkspace& workspace_;
  const Regions regions_;
};

}  // namespace

absl::StatusOr<KvFrame> EncodeOnCuda(const KvCacheView& cache, std::span<const int32_t> layers,
                                     const CodecSpec& codec) {
  ASSIGN_OR_RETURN(const int gpu, CudaDeviceOf(cache.Plane(layers.front(), Half::kKey).data));
  ASSIGN_OR_RETURN(const CudaDeviceGuard guard, CudaDeviceGuard::Create(gpu));
  ASSIGN_OR_RETURN(const CudaWorkspaceLease workspace, CudaWorkspaceLease::Take(gpu));
  KvFrame frame;
  frame.layout = cache.layout;
  frame.codec = codec;
  frame.num_tokens = static_cast<uint32_t>(cache.num_tokens);
  frame.layers.assign(layers.begin(), layers.end());
  // Of a norm selection only the number is known yet.
  frame.positions =
      FixedPositions(codec.selection, frame.num_tokens, codec.NumKept(frame.num_tokens));
  RETURN_IF_ERROR(LayOutBlocks(frame));
  RETURN_IF_ERROR(Encoding(cache, frame, *workspace.operator->()).Run());
  return frame;
}

}  // namespace qc2c
