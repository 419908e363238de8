// A treatment as the kernels take it: what is copied to the GPU, and where everything lies there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/codec/codec.h"
#include "common/codec/cuda_blocks.h"
#include "common/codec/treatment.h"
#include "common/codec/treatment_cuda.h"

namespace qc2c {

// For one frame, its blocks in the order of the device table: group by group. `first` below is the
// entry at which the launch's part of the table begins. Borrows all it is given.
class CudaTreatmentPlan {
 public:
  // REQUIRES: the frame's blocks are laid out.
  CudaTreatmentPlan(const Treatment& treatment, const KvFrame& frame,
                    std::span<const CudaBlockGroup> groups);

  // Nothing is done: then both sizes are 0, and nothing below need be called.
  bool is_nothing() const { return treatment_.is_nothing(); }
  size_t upload_bytes() const;   // for Write
  size_t treated_bytes() const;  // of the treated values
  size_t ranges_bytes() const;   // scratch for encoding zero points; 0 without

  // Device memory for both.
  struct Memory {
    uint8_t* upload = nullptr;
    float* treated = nullptr;
  };
  // Writes what belongs at memory.upload; `table` is the cache's (BlockTable).
  void Write(std::span<const CudaBlock> table, const Memory& memory, uint8_t* host) const;
  // The kernels' argument for some of the cache's blocks.
  CudaTreatment Launch(const CudaBlocks& cache, const Memory& memory, size_t first) const;
  // The same blocks as the scheme sees them: treated, fp32, without gaps.
  CudaBlocks Treated(const CudaBlocks& cache, const Memory& memory, size_t first) const;
  // Takes the zero points of Treated() blocks of this codec, or adds them; nothing without.
  // `ranges` is for taking.
  int QueueTakeZeroPoints(const CudaBlocks& treated, const CodecSpec& codec, const Memory& memory,
                          size_t first, uint32_t* ranges, CUstream_st* stream) const;
  int QueueAddZeroPoints(const CudaBlocks& treated, const CodecSpec& codec, const Memory& memory,
                         size_t first, CUstream_st* stream) const;

 private:
  uint64_t NumZeroPoints(const CodecSpec& codec) const;  // of a block
  size_t BlockValues() const;                            // K H D
  size_t TableBytes() const;                             // of the treated blocks' table
  size_t StepsBytes() const;                             // of the steps

  const Treatment& treatment_;
  const KvFrame& frame_;
  const std::span<const CudaBlockGroup> groups_;
  std::vector<CudaTreatmentSteps> steps_;
  std::vector<float> numbers_;
};

}  // namespace qc2c
