// The entropy coding of a frame's codes for both CUDA drivers: what is uploaded, what memory it
// takes, and how its work is queued. Regions begin at multiples of AlignRegion.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/codec/codec.h"
#include "common/codec/rans_cuda.h"

namespace qc2c {

// The segments of a frame's pieces and what is common to those of a precision.
struct CudaCodingTable {
  std::vector<RansKind> kinds;
  std::vector<RansSegment> segments;

  size_t upload_bytes() const;
  void Write(uint8_t* host) const;
  CudaRansSegments At(const uint8_t* upload) const;  // device memory
};

class CudaFrameEncoding {
 public:
  CudaFrameEncoding() = default;  // of nothing
  // For messages of `chunk_bytes`. REQUIRES: the frame is laid out for coded codes, and its codec's
  // entropy is rans; `gpu` is the current GPU.
  static absl::StatusOr<CudaFrameEncoding> Create(const KvFrame& frame, uint32_t chunk_bytes,
                                                  int gpu);

  bool is_nothing() const { return table_.segments.empty(); }
  size_t upload_bytes() const { return is_nothing() ? 0 : table_.upload_bytes(); }
  size_t codes_bytes() const { return codes_bytes_; }  // room for codes behind the frame's data
  size_t places_bytes() const;                         // what comes back beside the coded codes
  size_t scratch_bytes() const;                        // the coded codes included

  // Device memory for them.
  struct Memory {
    uint8_t* upload = nullptr;
    uint8_t* places = nullptr;
    uint8_t* scratch = nullptr;
  };
  void Write(uint8_t* host) const { table_.Write(host); }
  // Codes what is at `data` (KvFrame::data, its codes behind it). The launches' cudaError_t.
  int Queue(const Memory& memory, const uint8_t* data, CUstream_st* stream) const;
  const uint8_t* Coded(const Memory& memory) const;
  // Fills frame.coded_pieces from the places, in CPU memory; the bytes of all coded codes.
  size_t ReadPieces(const uint8_t* places, KvFrame& frame) const;

 private:
  size_t made_bytes() const;

  CudaCodingTable table_;
  std::vector<CodedPiece> pieces_;         // where they lie is not known yet
  std::vector<size_t> segments_of_piece_;  // how many
  size_t codes_bytes_ = 0;
  size_t slots_bytes_ = 0;
  size_t most_coded_ = 0;  // bytes
};

class CudaFrameDecoding {
 public:
  // Nothing for a frame that is not coded. DATA_LOSS if the lengths of segments do not fit.
  // REQUIRES: CheckFrame; `gpu` is the current GPU.
  static absl::StatusOr<CudaFrameDecoding> Create(const KvFrame& frame, int gpu);

  bool is_nothing() const { return table_.segments.empty(); }
  size_t upload_bytes() const;
  size_t faults_bytes() const { return table_.segments.size() * sizeof(uint32_t); }
  void Write(uint8_t* host) const;
  // Decodes to `data`, as Queue above; `faults` is cleared before.
  int Queue(const uint8_t* upload, uint8_t* data, uint8_t* faults, CUstream_st* stream) const;
  // DATA_LOSS if any of the faults, in CPU memory, is one: of the first piece that is no coding, in
  // DecodeCodes' words.
  absl::Status CheckFaults(const uint8_t* faults) const;

 private:
  explicit CudaFrameDecoding(const KvFrame& frame) : frame_(&frame) {}

  const KvFrame* frame_;
  CudaCodingTable table_;
};

}  // namespace qc2c
