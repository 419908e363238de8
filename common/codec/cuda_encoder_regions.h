// The memory of one encoding on a GPU.
#pragma once

#include <cstddef>
#include <span>

#include "common/codec/codec.h"
#include "common/codec/cuda_blocks.h"
#include "common/codec/cuda_treatment_plan.h"
#include "common/codec/frame_coding_cuda.h"

namespace qc2c {

// Where everything lies in the workspace's device memory. [table, faults) is copied there, [faults,
// positions) is cleared, and [faults, end_of_result) is what comes back, in one copy; of a coded
// frame its codes then in another, as long as they are.
struct CudaEncoderRegions {
  size_t table = 0;         // CudaBlock [num_blocks], [num_scored_layers]
  size_t plan = 0;          // CudaTreatmentPlan::Write
  size_t coding = 0;        // CudaFrameEncoding::Write
  size_t given = 0;         // positions that follow from the codec and are no run [num_kept]
  size_t faults = 0;        // [num_blocks], in the table's order
  size_t score_faults = 0;  // [num_scored_layers]
  size_t positions = 0;     // KvFrame::positions
  size_t places = 0;        // CudaFrameEncoding::places_bytes
  size_t data = 0;          // KvFrame::data, and behind it the codes of a coded frame
  size_t end_of_result = 0;
  size_t scratch = 0;      // CudaFrameEncoding::scratch_bytes
  size_t scores = 0;       // [num_tokens]
  size_t layer_means = 0;  // [num_scored_layers, num_tokens]
  size_t row_totals = 0;   // [the largest group's blocks, num_kept, H]
  size_t treated = 0;      // CudaTreatmentPlan::treated_bytes
  size_t ranges = 0;       // CudaTreatmentPlan::ranges_bytes
  size_t end = 0;
};

// `num_layers` are scored: 0 without a selection by scores. REQUIRES: the frame is laid out.
CudaEncoderRegions PlaceEncoderRegions(const KvFrame& frame, std::span<const CudaBlockGroup> groups,
                                       const CudaTreatmentPlan& plan,
                                       const CudaFrameEncoding& coding, size_t num_layers);

}  // namespace qc2c
