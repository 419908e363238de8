#include "common/codec/cuda_encoder_regions.h"

#include <algorithm>

namespace qc2c {
namespace {

// The kept tokens follow one another, so that the kernels need no list of them.
bool IsRun(const std::vector<uint32_t>& positions) {
  return positions.back() - positions.front() + 1 == positions.size();
}

// Rows of the largest launch whose scales are found in two passes.
size_t NumRowTotals(const KvFrame& frame, std::span<const CudaBlockGroup> groups) {
  size_t num_blocks = 0;
  for (const CudaBlockGroup& group : groups) {
    const Axis axis = group.codec.axis;
    if (axis != Axis::kPerHead && axis != Axis::kPerLayer) continue;
    num_blocks = std::max(num_blocks, group.blocks.size());
  }
  return num_blocks * frame.num_kept() * frame.layout.num_kv_heads;
}

}  // namespace

CudaEncoderRegions PlaceEncoderRegions(const KvFrame& frame, std::span<const CudaBlockGroup> groups,
                                       const CudaTreatmentPlan& plan,
                                       const CudaFrameEncoding& coding, size_t num_layers) {
  const size_t num_blocks = frame.blocks.size();
  const bool scores = num_layers > 0;
  const size_t num_scored = scores ? frame.num_tokens : 0;
  CudaEncoderRegions r;
  r.plan = AlignRegion((num_blocks + num_layers) * sizeof(CudaBlock));
  r.coding = r.plan + plan.upload_bytes();
  r.given = r.coding + coding.upload_bytes();
  r.faults = r.given + (scores || IsRun(frame.positions)
                            ? 0
                            : AlignRegion(frame.positions.size() * sizeof(uint32_t)));
  r.score_faults = r.faults + AlignRegion(num_blocks * sizeof(uint32_t));
  r.positions = r.score_faults + AlignRegion(num_layers * sizeof(uint32_t));
  r.places = r.positions + AlignRegion(frame.positions.size() * sizeof(uint32_t));
  r.data = r.places + coding.places_bytes();
  r.end_of_result = r.data + frame.data.size();
  r.scratch = AlignRegion(r.end_of_result + coding.codes_bytes());
  r.scores = r.scratch + coding.scratch_bytes();
  r.layer_means = r.scores + AlignRegion(num_scored * sizeof(float));
  r.row_totals = r.layer_means + AlignRegion(num_scored * num_layers * sizeof(float));
  r.treated = r.row_totals + AlignRegion(NumRowTotals(frame, groups) * sizeof(float));
  r.ranges = r.treated + plan.treated_bytes();
  r.end = r.ranges + plan.ranges_bytes();
  return r;
}

}  // namespace qc2c
