#include "common/codec/rans_tables_cuda.h"

#include <cuda_runtime_api.h>

#include <map>
#include <mutex>
#include <tuple>
#include <vector>

#include "common/base/status_macros.h"
#include "common/codec/rans_lookup.h"
#include "common/cuda/cuda_buffer.h"
#include "common/cuda/cuda_status.h"

namespace qc2c {
namespace {

struct Known {
  std::mutex mutex;
  std::map<std::tuple<int, CodeForm, int>, std::pair<CudaBuffer, RansTables>> tables;
};

// Never destroyed: when statics go, the CUDA runtime may have gone already.
Known& TheKnown() {
  static Known* const known = new Known;
  return *known;
}

// Copies `array` behind what is in `memory` up to `end`, which grows.
template <typename T>
absl::StatusOr<const T*> Upload(const std::vector<T>& array, uint8_t* memory, size_t& end) {
  uint8_t* const to = memory + end;
  end += array.size() * sizeof(T);
  RETURN_IF_ERROR(
      CudaStatus(cudaMemcpy(to, array.data(), array.size() * sizeof(T), cudaMemcpyHostToDevice),
                 "cudaMemcpy"));
  return reinterpret_cast<const T*>(to);
}

}  // namespace

absl::StatusOr<RansTables> RansTablesOnGpu(int gpu, CodeForm form, int bits) {
  Known& known = TheKnown();
  const std::lock_guard lock(known.mutex);
  const auto found = known.tables.find({gpu, form, bits});
  if (found != known.tables.end()) return found->second.second;
  const RansLookup lookup = MakeRansLookup(form, bits);
  CudaBuffer memory(CudaMemory::kDevice);
  RETURN_IF_ERROR(memory.Reserve(lookup.pushes.size() * sizeof(uint64_t) +
                                 (lookup.entries.size() + lookup.costs.size()) * sizeof(uint32_t) +
                                 lookup.buckets.size() * sizeof(uint16_t)));
  RansTables tables;
  size_t end = 0;
  // The widest first, so that each is aligned.
  ASSIGN_OR_RETURN(tables.pushes, Upload(lookup.pushes, memory.data(), end));
  ASSIGN_OR_RETURN(tables.entries, Upload(lookup.entries, memory.data(), end));
  ASSIGN_OR_RETURN(tables.costs, Upload(lookup.costs, memory.data(), end));
  ASSIGN_OR_RETURN(tables.buckets, Upload(lookup.buckets, memory.data(), end));
  known.tables.emplace(std::tuple(gpu, form, bits), std::pair(std::move(memory), tables));
  return tables;
}

}  // namespace qc2c
