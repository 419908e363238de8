// Codes several runs on a GPU, as the drivers do, for tests and benchmarks.
#pragma once

#include <cuda_runtime_api.h>

#include <vector>

#include "absl/status/statusor.h"
#include "common/base/status_macros.h"
#include "common/codec/entropy_segments.h"
#include "common/codec/rans_cuda.h"
#include "common/codec/rans_tables_cuda.h"
#include "common/codec/scheme_registry.h"
#include "common/cuda/cuda_buffer.h"
#include "common/cuda/cuda_status.h"
#include "common/cuda/cuda_stream.h"

namespace qc2c {

// Memory on the GPU that keeps what it was given.
class GpuArray {
 public:
  explicit GpuArray(size_t bytes) : bytes_(bytes) {}

  template <typename T>
  static absl::StatusOr<GpuArray> Of(const std::vector<T>& host) {
    GpuArray array(host.size() * sizeof(T));
    RETURN_IF_ERROR(array.Create());
    RETURN_IF_ERROR(CudaStatus(
        cudaMemcpy(array.memory_.data(), host.data(), array.bytes_, cudaMemcpyHostToDevice),
        "cudaMemcpy"));
    return array;
  }
  static absl::StatusOr<GpuArray> Zeros(size_t bytes) {
    GpuArray array(bytes);
    RETURN_IF_ERROR(array.Create());
    RETURN_IF_ERROR(CudaStatus(cudaMemset(array.memory_.data(), 0, bytes), "cudaMemset"));
    return array;
  }

  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(memory_.data());
  }
  template <typename T>
  absl::StatusOr<std::vector<T>> ToHost(size_t num) const {
    std::vector<T> host(num);
    RETURN_IF_ERROR(
        CudaStatus(cudaMemcpy(host.data(), memory_.data(), num * sizeof(T), cudaMemcpyDeviceToHost),
                   "cudaMemcpy"));
    return host;
  }
  size_t bytes() const { return bytes_; }

 private:
  absl::Status Create() { return memory_.Reserve(bytes_ + 1); }

  size_t bytes_;
  CudaBuffer memory_{CudaMemory::kDevice};
};

// The current GPU is number 0.
inline absl::StatusOr<RansKind> KindOnGpu(const CodeSource& source) {
  RansKind kind = RansKindOf(source);
  ASSIGN_OR_RETURN(kind.tables,
                   RansTablesOnGpu(0, CodeFormOf(source.scheme), static_cast<int>(kind.bits)));
  return kind;
}

// EncodeCodes on the GPU of runs of one precision, one after another in `codes`.
class GpuEncoder {
 public:
  static absl::StatusOr<GpuEncoder> Create(const CodeSource& source,
                                           const std::vector<uint8_t>& codes, size_t run_bytes) {
    std::vector<RansSegment> segments;
    size_t slots_bytes = 0;
    for (size_t at = 0; at < codes.size(); at += run_bytes) {
      AppendSegments({.source = source,
                      .codes_offset = at,
                      .codes_bytes = std::min(run_bytes, codes.size() - at)},
                     slots_bytes, segments);
    }
    const size_t most = codes.size() + segments.size() * (1 + kSegmentLengthBytes);
    ASSIGN_OR_RETURN(const RansKind kind, KindOnGpu(source));
    ASSIGN_OR_RETURN(GpuArray kinds, GpuArray::Of(std::vector<RansKind>{kind}));
    ASSIGN_OR_RETURN(GpuArray table, GpuArray::Of(segments));
    ASSIGN_OR_RETURN(GpuArray gpu_codes, GpuArray::Of(codes));
    ASSIGN_OR_RETURN(GpuArray slots, GpuArray::Zeros(slots_bytes));
    ASSIGN_OR_RETURN(GpuArray made, GpuArray::Zeros(segments.size() * sizeof(CodedSegment)));
    ASSIGN_OR_RETURN(GpuArray places, GpuArray::Zeros((segments.size() + 1) * sizeof(uint64_t)));
    ASSIGN_OR_RETURN(GpuArray coded, GpuArray::Zeros(most));
    return GpuEncoder(std::move(segments), std::move(kinds), std::move(table), std::move(gpu_codes),
                      std::move(slots), std::move(made), std::move(places), std::move(coded));
  }

  int Queue(CUstream_st* stream) const {
    const int error = LaunchRansEncode(encoding(), stream);
    return error != cudaSuccess ? error : LaunchRansGather(encoding(), stream);
  }

  // What has been coded, a vector a run. REQUIRES: the queued work is done.
  absl::StatusOr<std::vector<std::vector<uint8_t>>> Result() const {
    ASSIGN_OR_RETURN(const auto places, places_.ToHost<uint64_t>(segments_.size() + 1));
    ASSIGN_OR_RETURN(const auto coded, coded_.ToHost<uint8_t>(places.back()));
    std::vector<std::vector<uint8_t>> runs;
    size_t begin = 0;
    for (size_t i = 0; i < segments_.size(); ++i) {
      if (segments_[i].prefix_bytes != 0) continue;
      const size_t end =
          i + 1 < segments_.size() ? places[i + 1] - segments_[i + 1].prefix_bytes : places.back();
      runs.emplace_back(coded.begin() + begin, coded.begin() + end);
      begin = end;
    }
    return runs;
  }

 private:
  GpuEncoder(std::vector<RansSegment> segments, GpuArray kinds, GpuArray table, GpuArray codes,
             GpuArray slots, GpuArray made, GpuArray places, GpuArray coded)
      : segments_(std::move(segments)),
        kinds_(std::move(kinds)),
        table_(std::move(table)),
        codes_(std::move(codes)),
        slots_(std::move(slots)),
        made_(std::move(made)),
        places_(std::move(places)),
        coded_(std::move(coded)) {}

  CudaRansEncoding encoding() const {
    return {.segments = {kinds_.as<RansKind>(), table_.as<RansSegment>(),
                         static_cast<uint32_t>(segments_.size())},
            .codes = codes_.as<uint8_t>(),
            .slots = slots_.as<uint8_t>(),
            .made = made_.as<CodedSegment>(),
            .places = places_.as<uint64_t>(),
            .coded = coded_.as<uint8_t>()};
  }

  std::vector<RansSegment> segments_;
  GpuArray kinds_, table_, codes_, slots_, made_, places_, coded_;
};

// DecodeCodes on the GPU of runs of one precision, each of codes_bytes (the last perhaps of less).
class GpuDecoder {
 public:
  // INVALID_ARGUMENT if the lengths of a run's segments do not fit.
  static absl::StatusOr<GpuDecoder> Create(const CodeSource& source,
                                           const std::vector<std::vector<uint8_t>>& runs,
                                           size_t run_bytes, size_t codes_bytes) {
    std::vector<RansSegment> segments;
    std::vector<uint8_t> coded;
    for (size_t i = 0; i < runs.size(); ++i) {
      const CodedRun run = {.source = source,
                            .codes_offset = i * run_bytes,
                            .codes_bytes = std::min(run_bytes, codes_bytes - i * run_bytes),
                            .coded_offset = coded.size()};
      if (!AppendCodedSegments(run, runs[i], segments)) {
        return absl::InvalidArgumentError("the lengths of the segments do not fit");
      }
      coded.insert(coded.end(), runs[i].begin(), runs[i].end());
    }
    ASSIGN_OR_RETURN(const RansKind kind, KindOnGpu(source));
    ASSIGN_OR_RETURN(GpuArray kinds, GpuArray::Of(std::vector<RansKind>{kind}));
    ASSIGN_OR_RETURN(GpuArray table, GpuArray::Of(segments));
    ASSIGN_OR_RETURN(GpuArray gpu_coded, GpuArray::Of(coded));
    ASSIGN_OR_RETURN(GpuArray codes, GpuArray::Zeros(codes_bytes));
    ASSIGN_OR_RETURN(GpuArray faults, GpuArray::Zeros(segments.size() * sizeof(uint32_t)));
    return GpuDecoder(segments.size(), std::move(kinds), std::move(table), std::move(gpu_coded),
                      std::move(codes), std::move(faults));
  }

  int Queue(CUstream_st* stream) const {
    return LaunchRansDecode({.segments = {kinds_.as<RansKind>(), table_.as<RansSegment>(),
                                          static_cast<uint32_t>(num_segments_)},
                             .coded = coded_.as<uint8_t>(),
                             .codes = codes_.as<uint8_t>(),
                             .faults = faults_.as<uint32_t>()},
                            stream);
  }

  // REQUIRES: the queued work is done.
  absl::StatusOr<std::vector<uint8_t>> Codes() const {
    return codes_.ToHost<uint8_t>(codes_.bytes());
  }
  absl::StatusOr<std::vector<uint32_t>> Faults() const {
    return faults_.ToHost<uint32_t>(num_segments_);
  }

 private:
  GpuDecoder(size_t num_segments, GpuArray kinds, GpuArray table, GpuArray coded, GpuArray codes,
             GpuArray faults)
      : num_segments_(num_segments),
        kinds_(std::move(kinds)),
        table_(std::move(table)),
        coded_(std::move(coded)),
        codes_(std::move(codes)),
        faults_(std::move(faults)) {}

  size_t num_segments_;
  GpuArray kinds_, table_, coded_, codes_, faults_;
};

}  // namespace qc2c
