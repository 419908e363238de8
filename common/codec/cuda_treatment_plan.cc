#include "common/codec/cuda_treatment_plan.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/codec/zero_point_cuda.h"

namespace qc2c {

CudaTreatmentPlan::CudaTreatmentPlan(const Treatment& treatment, const KvFrame& frame,
                                     std::span<const CudaBlockGroup> groups)
    : treatment_(treatment), frame_(frame), groups_(groups) {
  if (is_nothing()) return;
  const auto append = [&](std::span<const float> numbers) {
    const auto offset = static_cast<int64_t>(numbers_.size());
    numbers_.insert(numbers_.end(), numbers.begin(), numbers.end());
    return offset;
  };
  std::vector<std::pair<int64_t, int64_t>> tables;  // cosines, sines
  for (const RotaryTable& table : treatment.rotary_tables()) {
    const int64_t cosines = append(table.all_cosines());
    tables.emplace_back(cosines, append(table.all_sines()));
  }
  const size_t num_means = static_cast<size_t>(frame.layout.num_kv_heads) * frame.layout.head_dim;
  for (const CudaBlockGroup& group : groups) {
    for (const size_t i : group.blocks) {
      const TreatmentSteps steps = treatment.StepsOf({frame.blocks[i].layer, frame.blocks[i].half});
      CudaTreatmentSteps device;
      if (steps.rotary != nullptr) {
        const size_t index = steps.rotary - treatment.rotary_tables().data();
        const size_t skipped = steps.first_token * (frame.layout.head_dim / 2);
        device.cosines = tables[index].first + static_cast<int64_t>(skipped);
        device.sines = tables[index].second + static_cast<int64_t>(skipped);
      }
      if (steps.means != nullptr) device.means = append({steps.means, num_means});
      device.has_transform = steps.has_transform ? 1 : 0;
      steps_.push_back(device);
    }
  }
}

size_t CudaTreatmentPlan::BlockValues() const {
  return size_t{frame_.num_kept()} * frame_.layout.num_kv_heads * frame_.layout.head_dim;
}

size_t CudaTreatmentPlan::TableBytes() const {
  return AlignRegion(frame_.blocks.size() * sizeof(CudaBlock));
}

size_t CudaTreatmentPlan::StepsBytes() const {
  return AlignRegion(steps_.size() * sizeof(CudaTreatmentSteps));
}

size_t CudaTreatmentPlan::upload_bytes() const {
  return is_nothing() ? 0
                      : TableBytes() + StepsBytes() + AlignRegion(numbers_.size() * sizeof(float));
}

size_t CudaTreatmentPlan::treated_bytes() const {
  return is_nothing() ? 0 : AlignRegion(frame_.blocks.size() * BlockValues() * sizeof(float));
}

uint64_t CudaTreatmentPlan::NumZeroPoints(const CodecSpec& codec) const {
  if (!codec.HasZeroPoints()) return 0;
  return NumScales(codec.scaling(), frame_.num_kept(), frame_.layout.num_kv_heads,
                   frame_.layout.head_dim);
}

// The launches follow one another on the stream, so that they can share the scratch.
size_t CudaTreatmentPlan::ranges_bytes() const {
  uint64_t most = 0;
  for (const CudaBlockGroup& group : groups_) {
    most = std::max(most, group.blocks.size() * NumZeroPoints(group.codec));
  }
  return AlignRegion(2 * sizeof(uint32_t) * most);
}

int CudaTreatmentPlan::QueueTakeZeroPoints(const CudaBlocks& treated, const CodecSpec& codec,
                                           const Memory& memory, size_t first, uint32_t* ranges,
                                           CUstream_st* stream) const {
  if (NumZeroPoints(codec) == 0) return 0;
  return LaunchTakeZeroPoints({.blocks = treated,
                               .num_scales = NumZeroPoints(codec),
                               .treated = memory.treated + first * BlockValues(),
                               .ranges = ranges},
                              stream);
}

int CudaTreatmentPlan::QueueAddZeroPoints(const CudaBlocks& treated, const CodecSpec& codec,
                                          const Memory& memory, size_t first,
                                          CUstream_st* stream) const {
  if (NumZeroPoints(codec) == 0) return 0;
  return LaunchAddZeroPoints({.blocks = treated,
                              .num_scales = NumZeroPoints(codec),
                              .treated = memory.treated + first * BlockValues(),
                              .ranges = nullptr},
                             stream);
}

void CudaTreatmentPlan::Write(std::span<const CudaBlock> table, const Memory& memory,
                              uint8_t* host) const {
  const int64_t head_dim = frame_.layout.head_dim;
  std::vector<CudaBlock> treated(table.begin(), table.begin() + frame_.blocks.size());
  for (size_t i = 0; i < treated.size(); ++i) {
    treated[i].plane = memory.treated + i * BlockValues();
    treated[i].token_stride = frame_.layout.num_kv_heads * head_dim;
    treated[i].head_stride = head_dim;
  }
  std::memcpy(host, treated.data(), treated.size() * sizeof(CudaBlock));
  std::memcpy(host + TableBytes(), steps_.data(), steps_.size() * sizeof(CudaTreatmentSteps));
  if (numbers_.empty()) return;
  std::memcpy(host + TableBytes() + StepsBytes(), numbers_.data(), numbers_.size() * sizeof(float));
}

CudaTreatment CudaTreatmentPlan::Launch(const CudaBlocks& cache, const Memory& memory,
                                        size_t first) const {
  return {
      .cache = cache,
      .steps = reinterpret_cast<const CudaTreatmentSteps*>(memory.upload + TableBytes()) + first,
      .numbers = reinterpret_cast<const float*>(memory.upload + TableBytes() + StepsBytes()),
      .treated = memory.treated + first * BlockValues()};
}

CudaBlocks CudaTreatmentPlan::Treated(const CudaBlocks& cache, const Memory& memory,
                                      size_t first) const {
  CudaBlocks blocks = cache;
  blocks.blocks = reinterpret_cast<const CudaBlock*>(memory.upload) + first;
  blocks.positions = nullptr;
  blocks.first_position = 0;
  blocks.dtype = DType::kFp32;
  blocks.access = frame_.layout.head_dim % 8 == 0 ? RowAccess::kVector : RowAccess::kScalar;
  return blocks;
}

}  // namespace qc2c
