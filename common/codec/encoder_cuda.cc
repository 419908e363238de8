#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "common/base/status_macros.h"
#include "common/codec/cuda_blocks.h"
#include "common/codec/cuda_encoder_regions.h"
#include "common/codec/cuda_treatment_plan.h"
#include "common/codec/cuda_workspace.h"
#include "common/codec/device_codec.h"
#include "common/codec/fault_status.h"
#include "common/codec/frame_coding_cuda.h"
#include "common/codec/frame_layout.h"
#include "common/codec/scheme_registry.h"
#include "common/codec/selection.h"
#include "common/codec/selection_cuda.h"
#include "common/cuda/cuda_device.h"
#include "common/cuda/cuda_status.h"

namespace qc2c {
namespace {

// One encoding on one workspace: queue everything, wait once, read the result.
class Encoding {
 public:
  Encoding(const KvCacheView& cache, KvFrame& frame, const Treatment& treatment,
           const TokenScores& scores, const CudaFrameEncoding& coding, CudaWorkspace& workspace)
      : cache_(cache),
        frame_(frame),
        scores_(scores),
        coding_(coding),
        workspace_(workspace),
        scored_(NeedsScores(frame.codec.selection)
                    ? ScoredLayers(frame.codec, frame.layout, frame.layers)
                    : std::vector<int32_t>()),
        groups_(GroupBlocks(frame)),
        table_(BlockTable(frame, groups_, cache)),
        plan_(treatment, frame, groups_),
        regions_(PlaceEncoderRegions(frame, groups_, plan_, coding, scored_.size())) {}

  absl::Status Run() {
    RETURN_IF_ERROR(workspace_.device.Reserve(regions_.end));
    const size_t result_bytes = regions_.end_of_result - regions_.faults;
    RETURN_IF_ERROR(workspace_.pinned.Reserve(AlignRegion(result_bytes) + regions_.faults));
    uint8_t* const upload = workspace_.pinned.data() + AlignRegion(result_bytes);
    WriteTables(upload);
    RETURN_IF_ERROR(Copy(Device(regions_.table), upload, regions_.faults, cudaMemcpyHostToDevice));
    RETURN_IF_ERROR(CudaStatus(
        cudaMemsetAsync(Device(regions_.faults), 0, regions_.positions - regions_.faults, Stream()),
        "cudaMemsetAsync"));
    if (!scored_.empty()) RETURN_IF_ERROR(QueueSelection());
    RETURN_IF_ERROR(QueueEncoding());
    if (!coding_.is_nothing()) {
      RETURN_IF_ERROR(CudaStatus(coding_.Queue(CodingMemory(), Device(regions_.data), Stream()),
                                 "EncodeCodes"));
    }
    RETURN_IF_ERROR(Copy(workspace_.pinned.data(), Device(regions_.faults), result_bytes,
                         cudaMemcpyDeviceToHost));
    RETURN_IF_ERROR(workspace_.stream.Synchronize());
    ReadResult();
    RETURN_IF_ERROR(CheckFaults());
    return coding_.is_nothing() ? absl::OkStatus() : FetchCoded();
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
  CudaTreatmentPlan::Memory PlanMemory() const {
    return {Device(regions_.plan), DeviceArray<float>(regions_.treated)};
  }
  CudaFrameEncoding::Memory CodingMemory() const {
    return {Device(regions_.coding), Device(regions_.places), Device(regions_.scratch)};
  }
  CUstream_st* Stream() const { return workspace_.stream.get(); }

  absl::Status Copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) const {
    return CudaStatus(cudaMemcpyAsync(to, from, bytes, kind, Stream()), "cudaMemcpyAsync");
  }

  // Fills [table, faults) at `upload`.
  void WriteTables(uint8_t* upload) const {
    const std::vector<CudaBlock> scored = ScoredTable();
    std::vector<CudaBlock> table = table_;
    table.insert(table.end(), scored.begin(), scored.end());
    std::memcpy(upload, table.data(), table.size() * sizeof(CudaBlock));
    if (!plan_.is_nothing()) plan_.Write(table, PlanMemory(), upload + regions_.plan);
    if (!coding_.is_nothing()) coding_.Write(upload + regions_.coding);
    if (regions_.given < regions_.faults) {
      std::memcpy(upload + regions_.given, frame_.positions.data(),
                  frame_.positions.size() * sizeof(uint32_t));
    }
  }

  bool has_given_scores() const { return HasGivenScores(frame_.codec.selection); }

  // Where each scored layer's scores are, or the planes that they are found in.
  std::vector<CudaBlock> ScoredTable() const {
    std::vector<CudaBlock> table;
    if (!scored_.empty() && !has_given_scores()) {
      return PlaneTable(ScoredTensors(frame_.codec, frame_.layout, frame_.layers), cache_);
    }
    for (const int32_t layer : scored_) {
      table.push_back({.plane = const_cast<float*>(scores_.Layer(layer))});
    }
    return table;
  }

  absl::Status QueueSelection() const {
    const CudaScoring scoring = {
        .blocks = DeviceArray<CudaBlock>(regions_.table) + frame_.blocks.size(),
        .num_layers = static_cast<uint32_t>(scored_.size()),
        .num_tokens = frame_.num_tokens,
        .num_heads = static_cast<uint32_t>(frame_.layout.num_kv_heads),
        .head_dim = static_cast<uint32_t>(frame_.layout.head_dim),
        .dtype = cache_.dtype,
        .num_kept = frame_.num_kept(),
        .index_sets = frame_.codec.index_sets,
        .source = has_given_scores() ? CudaScoring::Source::kGiven : CudaScoring::Source::kNorms,
        .layer_means = DeviceArray<float>(regions_.layer_means),
        .scores = DeviceArray<float>(regions_.scores),
        .faults = DeviceArray<uint32_t>(regions_.score_faults),
        .positions = DeviceArray<uint32_t>(regions_.positions)};
    return CudaStatus(LaunchSelectByScore(scoring, Stream()), "SelectByScore");
  }

  // The launches follow one another on the stream, so that they can share row_totals.
  absl::Status QueueEncoding() const {
    size_t first = 0;
    for (const CudaBlockGroup& group : groups_) {
      RETURN_IF_ERROR(QueueGroup(group, first));
      first += group.blocks.size();
    }
    return absl::OkStatus();
  }

  absl::Status QueueGroup(const CudaBlockGroup& group, size_t first) const {
    CudaBlocks blocks = BlocksOf(frame_, group, cache_, table_, first);
    blocks.blocks = DeviceArray<CudaBlock>(regions_.table) + first;
    blocks.data = Device(regions_.data);
    blocks.faults = DeviceArray<uint32_t>(regions_.faults) + first;
    blocks.row_totals = DeviceArray<float>(regions_.row_totals);
    if (!scored_.empty()) {
      blocks.positions = DeviceArray<uint32_t>(regions_.positions);
    } else if (regions_.given < regions_.faults) {
      blocks.positions = DeviceArray<uint32_t>(regions_.given);
    } else {
      blocks.first_position = frame_.positions.front();
    }
    if (!plan_.is_nothing()) {
      RETURN_IF_ERROR(
          CudaStatus(LaunchTreat(plan_.Launch(blocks, PlanMemory(), first), Stream()), "Treat"));
      blocks = plan_.Treated(blocks, PlanMemory(), first);
      RETURN_IF_ERROR(
          CudaStatus(plan_.QueueTakeZeroPoints(blocks, group.codec, PlanMemory(), first,
                                               DeviceArray<uint32_t>(regions_.ranges), Stream()),
                     "TakeZeroPoints"));
    }
    return CudaStatus(FindCudaScheme(group.codec.scheme)->encode(blocks, Stream()), "Encode");
  }

  // A refused cache is rare: its plane comes to the host, where the first bad value is looked for.
  absl::Status Describe(BlockFaults faults, const KvTensorId& tensor,
                        std::span<const uint32_t> positions, const CodecSpec& codec) const {
    if (faults == 0) return absl::OkStatus();
    KvPlane plane = cache_.Plane(tensor.layer, tensor.half);
    const int64_t num_elements = (cache_.num_tokens - 1) * plane.token_stride +
                                 (cache_.layout.num_kv_heads - 1) * plane.head_stride +
                                 cache_.layout.head_dim;
    std::vector<std::byte> host(num_elements * DTypeBytes(cache_.dtype));
    RETURN_IF_ERROR(Copy(host.data(), plane.data, host.size(), cudaMemcpyDeviceToHost));
    RETURN_IF_ERROR(workspace_.stream.Synchronize());
    plane.data = host.data();
    const BlockRows rows = {.plane = plane,
                            .dtype = cache_.dtype,
                            .num_heads = cache_.layout.num_kv_heads,
                            .head_dim = cache_.layout.head_dim,
                            .positions = positions};
    return FaultStatus(faults, tensor, rows, codec);
  }

  absl::Status DescribeScores(BlockFaults faults, int32_t layer) const {
    if (faults == 0) return absl::OkStatus();
    std::vector<float> host(frame_.num_tokens);
    RETURN_IF_ERROR(Copy(host.data(), scores_.Layer(layer), host.size() * sizeof(float),
                         cudaMemcpyDeviceToHost));
    RETURN_IF_ERROR(workspace_.stream.Synchronize());
    return CheckGivenScores(host, layer);
  }

  absl::Status CheckFaults() const {
    std::vector<uint32_t> every(scored_.empty() ? 0 : frame_.num_tokens);
    std::iota(every.begin(), every.end(), 0);
    for (size_t i = 0; i < scored_.size(); ++i) {
      BlockFaults faults;
      std::memcpy(&faults, Result(regions_.score_faults) + i * sizeof(faults), sizeof(faults));
      if (has_given_scores()) {
        RETURN_IF_ERROR(DescribeScores(faults, scored_[i]));
      } else {
        RETURN_IF_ERROR(Describe(faults, {scored_[i], ScoredHalf(frame_.codec.selection)}, every,
                                 frame_.codec));
      }
    }
    return CheckBlockFaults();
  }

  // In the frame's order, so that the first bad block is the one that the CPU would name.
  absl::Status CheckBlockFaults() const {
    std::vector<BlockFaults> of_block(frame_.blocks.size());
    size_t entry = 0;
    for (const CudaBlockGroup& group : groups_) {
      for (const size_t i : group.blocks) {
        std::memcpy(&of_block[i], Result(regions_.faults) + entry * sizeof(BlockFaults),
                    sizeof(BlockFaults));
        ++entry;
      }
    }
    for (size_t i = 0; i < of_block.size(); ++i) {
      const KvBlock& block = frame_.blocks[i];
      RETURN_IF_ERROR(Describe(of_block[i], {block.layer, block.half},
                               frame_.PositionsOf(block.layer),
                               frame_.codec.Of(block.layer, block.half)));
    }
    return absl::OkStatus();
  }

  // Section by section: what lies between them on the GPU is not zero, as a frame promises.
  void ReadResult() {
    const uint8_t* const data = Result(regions_.data);
    uint8_t* const out = frame_.data.data();
    for (const KvBlock& block : frame_.blocks) {
      if (coding_.is_nothing()) {
        std::memcpy(out + block.codes_offset, data + block.codes_offset, block.codes_bytes);
      }
      std::memcpy(out + block.scales_offset, data + block.scales_offset, block.scales_bytes);
      std::memcpy(out + block.zero_points_offset, data + block.zero_points_offset,
                  block.zero_points_bytes);
    }
    if (scored_.empty()) return;
    std::memcpy(frame_.positions.data(), Result(regions_.positions),
                frame_.positions.size() * sizeof(uint32_t));
  }

  // The codes as they travel: how long they are is known now.
  absl::Status FetchCoded() {
    const size_t coded_bytes = coding_.ReadPieces(Result(regions_.places), frame_);
    RETURN_IF_ERROR(workspace_.pinned.Reserve(coded_bytes));
    RETURN_IF_ERROR(Copy(workspace_.pinned.data(), coding_.Coded(CodingMemory()), coded_bytes,
                         cudaMemcpyDeviceToHost));
    RETURN_IF_ERROR(workspace_.stream.Synchronize());
    frame_.coded.assign(workspace_.pinned.data(), workspace_.pinned.data() + coded_bytes);
    return absl::OkStatus();
  }

  const KvCacheView& cache_;
  KvFrame& frame_;
  const TokenScores& scores_;
  const CudaFrameEncoding& coding_;
  CudaWorkspace& workspace_;
  const std::vector<int32_t> scored_;  // layers; empty without a selection by scores
  const std::vector<CudaBlockGroup> groups_;
  const std::vector<CudaBlock> table_;
  const CudaTreatmentPlan plan_;
  const CudaEncoderRegions regions_;
};

}  // namespace

absl::StatusOr<KvFrame> EncodeOnCuda(const KvCacheView& cache, const KvLayerSet& layers,
                                     const CodecSpec& codec, const Treatment& treatment,
                                     const TokenScores& scores, uint32_t chunk_bytes) {
  const KvTensorId first = layers.Tensors().front();
  ASSIGN_OR_RETURN(const int gpu, CudaDeviceOf(cache.Plane(first.layer, first.half).data));
  ASSIGN_OR_RETURN(const CudaDeviceGuard guard, CudaDeviceGuard::Create(gpu));
  ASSIGN_OR_RETURN(const CudaWorkspaceLease workspace, CudaWorkspaceLease::Take(gpu));
  KvFrame frame;
  frame.layout = cache.layout;
  frame.codec = codec;
  frame.num_tokens = static_cast<uint32_t>(cache.num_tokens);
  frame.layers = layers;
  const uint32_t num_kept = codec.NumKept(frame.num_tokens);
  frame.positions = FixedPositions(codec, frame.num_tokens, num_kept);
  // Of a selection by scores only the number is known yet.
  frame.positions.resize(frame.num_index_sets() * num_kept);
  const bool is_coded = chunk_bytes != 0 && codec.entropy == Entropy::kRans;
  RETURN_IF_ERROR(LayOutBlocks(frame, is_coded ? FrameCodes::kCoded : FrameCodes::kPlain));
  CudaFrameEncoding coding;
  if (is_coded) {
    ASSIGN_OR_RETURN(coding, CudaFrameEncoding::Create(frame, chunk_bytes, gpu));
  }
  RETURN_IF_ERROR(Encoding(cache, frame, treatment, scores, coding, *workspace.operator->()).Run());
  return frame;
}

}  // namespace qc2c
