#include <cuda_runtime_api.h>

#include <cstring>

#include "common/base/status_macros.h"
#include "common/codec/cuda_blocks.h"
#include "common/codec/cuda_treatment_plan.h"
#include "common/codec/cuda_workspace.h"
#include "common/codec/device_codec.h"
#include "common/codec/frame_coding_cuda.h"
#include "common/codec/scheme_registry.h"
#include "common/cuda/cuda_device.h"
#include "common/cuda/cuda_status.h"

namespace qc2c {
namespace {

// Where everything lies in the workspace's device memory. [0, end_of_upload) is copied there.
struct Regions {
  size_t plan = 0;    // CudaTreatmentPlan::Write; before it CudaBlock [num_blocks]
  size_t coding = 0;  // CudaFrameDecoding::Write
  size_t data = 0;    // KvFrame::data, and behind it room for the codes of a coded frame
  size_t end_of_upload = 0;
  size_t faults = 0;   // CudaFrameDecoding::faults_bytes
  size_t treated = 0;  // CudaTreatmentPlan::treated_bytes
  size_t end = 0;
};

// One decoding on one workspace: queue everything, wait once.
class Decoding {
 public:
  Decoding(const KvFrame& frame, const KvCacheView& out, const Treatment& treatment,
           const CudaFrameDecoding& coding, CudaWorkspace& workspace)
      : frame_(frame),
        out_(out),
        coding_(coding),
        workspace_(workspace),
        groups_(GroupBlocks(frame)),
        table_(BlockTable(frame, groups_, out)),
        plan_(treatment, frame, groups_),
        regions_(PlaceRegions()) {}

  absl::Status Run() {
    RETURN_IF_ERROR(workspace_.device.Reserve(regions_.end));
    RETURN_IF_ERROR(
        workspace_.pinned.Reserve(AlignRegion(regions_.end_of_upload) + coding_.faults_bytes()));
    uint8_t* const upload = workspace_.pinned.data();
    uint8_t* const faults = upload + AlignRegion(regions_.end_of_upload);
    WriteUpload(upload);
    RETURN_IF_ERROR(Copy(Device(0), upload, regions_.end_of_upload, cudaMemcpyHostToDevice));
    if (!coding_.is_nothing()) {
      RETURN_IF_ERROR(CudaStatus(coding_.Queue(Device(regions_.coding), Device(regions_.data),
                                               Device(regions_.faults), Stream()),
                                 "DecodeCodes"));
      RETURN_IF_ERROR(
          Copy(faults, Device(regions_.faults), coding_.faults_bytes(), cudaMemcpyDeviceToHost));
    }
    size_t first = 0;
    for (const CudaBlockGroup& group : groups_) {
      RETURN_IF_ERROR(QueueGroup(group, first));
      first += group.blocks.size();
    }
    RETURN_IF_ERROR(workspace_.stream.Synchronize());
    return coding_.CheckFaults(faults);
  }

 private:
  Regions PlaceRegions() const {
    Regions r;
    r.plan = AlignRegion(table_.size() * sizeof(CudaBlock));
    r.coding = r.plan + plan_.upload_bytes();
    r.data = r.coding + coding_.upload_bytes();
    r.end_of_upload = r.data + frame_.data.size();
    r.faults = AlignRegion(r.data + frame_.RoomBytes());
    r.treated = r.faults + AlignRegion(coding_.faults_bytes());
    r.end = r.treated + plan_.treated_bytes();
    return r;
  }

  uint8_t* Device(size_t offset) const { return workspace_.device.data() + offset; }
  CUstream_st* Stream() const { return workspace_.stream.get(); }
  CudaTreatmentPlan::Memory PlanMemory() const {
    return {Device(regions_.plan), reinterpret_cast<float*>(Device(regions_.treated))};
  }
  absl::Status Copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) const {
    return CudaStatus(cudaMemcpyAsync(to, from, bytes, kind, Stream()), "cudaMemcpyAsync");
  }

  void WriteUpload(uint8_t* upload) const {
    std::memcpy(upload, table_.data(), table_.size() * sizeof(CudaBlock));
    if (!plan_.is_nothing()) plan_.Write(table_, PlanMemory(), upload + regions_.plan);
    if (!coding_.is_nothing()) coding_.Write(upload + regions_.coding);
    std::memcpy(upload + regions_.data, frame_.data.data(), frame_.data.size());
  }

  absl::Status QueueGroup(const CudaBlockGroup& group, size_t first) const {
    CudaBlocks blocks = BlocksOf(frame_, group, out_, table_, first);
    blocks.blocks = reinterpret_cast<const CudaBlock*>(Device(0)) + first;
    blocks.data = Device(regions_.data);
    const CudaBlocks target =
        plan_.is_nothing() ? blocks : plan_.Treated(blocks, PlanMemory(), first);
    RETURN_IF_ERROR(
        CudaStatus(FindCudaScheme(group.codec.scheme)->decode(target, Stream()), "Decode"));
    if (plan_.is_nothing()) return absl::OkStatus();
    RETURN_IF_ERROR(
        CudaStatus(plan_.QueueAddZeroPoints(target, group.codec, PlanMemory(), first, Stream()),
                   "AddZeroPoints"));
    return CudaStatus(LaunchUntreat(plan_.Launch(blocks, PlanMemory(), first), Stream()),
                      "Untreat");
  }

  const KvFrame& frame_;
  const KvCacheView& out_;
  const CudaFrameDecoding& coding_;
  CudaWorkspace& workspace_;
  const std::vector<CudaBlockGroup> groups_;
  const std::vector<CudaBlock> table_;
  const CudaTreatmentPlan plan_;
  const Regions regions_;
};

}  // namespace

absl::Status DecodeOnCuda(const KvFrame& frame, const KvCacheView& out,
                          const Treatment& treatment) {
  ASSIGN_OR_RETURN(const int gpu,
                   CudaDeviceOf(out.Plane(frame.blocks[0].layer, frame.blocks[0].half).data));
  ASSIGN_OR_RETURN(const CudaDeviceGuard guard, CudaDeviceGuard::Create(gpu));
  ASSIGN_OR_RETURN(const CudaFrameDecoding coding, CudaFrameDecoding::Create(frame, gpu));
  ASSIGN_OR_RETURN(const CudaWorkspaceLease workspace, CudaWorkspaceLease::Take(gpu));
  return Decoding(frame, out, treatment, coding, *workspace.operator->()).Run();
}

}  // namespace qc2c
