#include <cuda_runtime_api.h>

#include <cstring>

#include "common/base/status_macros.h"
#include "common/codec/cuda_blocks.h"
#include "common/codec/cuda_treatment_plan.h"
#include "common/codec/cuda_workspace.h"
#include "common/codec/device_codec.h"
#include "common/codec/scheme_registry.h"
#include "common/cuda/cuda_device.h"
#include "common/cuda/cuda_status.h"

namespace qc2c {

absl::Status DecodeOnCuda(const KvFrame& frame, const KvCacheView& out,
                          const Treatment& treatment) {
  ASSIGN_OR_RETURN(const int gpu,
                   CudaDeviceOf(out.Plane(frame.blocks[0].layer, frame.blocks[0].half).data));
  ASSIGN_OR_RETURN(const CudaDeviceGuard guard, CudaDeviceGuard::Create(gpu));
  ASSIGN_OR_RETURN(const CudaWorkspaceLease workspace, CudaWorkspaceLease::Take(gpu));
  const std::vector<CudaBlockGroup> groups = GroupBlocks(frame);
  const std::vector<CudaBlock> table = BlockTable(frame, groups, out);
  const size_t table_bytes = table.size() * sizeof(CudaBlock);
  const CudaTreatmentPlan plan(treatment, frame, groups);
  const size_t plan_offset = AlignRegion(table_bytes);
  const size_t data_offset = plan_offset + plan.upload_bytes();
  const size_t total = data_offset + frame.data.size();
  const size_t treated_offset = AlignRegion(total);
  RETURN_IF_ERROR(workspace->device.Reserve(treated_offset + plan.treated_bytes()));
  RETURN_IF_ERROR(workspace->pinned.Reserve(total));

  const CudaTreatmentPlan::Memory memory = {
      workspace->device.data() + plan_offset,
      reinterpret_cast<float*>(workspace->device.data() + treated_offset)};
  std::memcpy(workspace->pinned.data(), table.data(), table_bytes);
  if (!plan.is_nothing()) plan.Write(table, memory, workspace->pinned.data() + plan_offset);
  std::memcpy(workspace->pinned.data() + data_offset, frame.data.data(), frame.data.size());
  RETURN_IF_ERROR(
      CudaStatus(cudaMemcpyAsync(workspace->device.data(), workspace->pinned.data(), total,
                                 cudaMemcpyHostToDevice, workspace->stream.get()),
                 "cudaMemcpyAsync"));
  CUstream_st* const stream = workspace->stream.get();
  size_t first = 0;
  for (const CudaBlockGroup& group : groups) {
    CudaBlocks blocks = BlocksOf(frame, group, out, table, first);
    blocks.blocks = reinterpret_cast<const CudaBlock*>(workspace->device.data()) + first;
    blocks.data = workspace->device.data() + data_offset;
    const CudaBlocks target = plan.is_nothing() ? blocks : plan.Treated(blocks, memory, first);
    RETURN_IF_ERROR(
        CudaStatus(FindCudaScheme(group.codec.scheme)->decode(target, stream), "Decode"));
    if (!plan.is_nothing()) {
      RETURN_IF_ERROR(CudaStatus(
          plan.QueueAddZeroPoints(target, group.codec, memory, first, stream), "AddZeroPoints"));
      RETURN_IF_ERROR(
          CudaStatus(LaunchUntreat(plan.Launch(blocks, memory, first), stream), "Untreat"));
    }
    first += group.blocks.size();
  }
  return workspace->stream.Synchronize();
}

}  // namespace qc2c
