#include "common/codec/frame_coding_cuda.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>

#include "common/base/status_macros.h"
#include "common/codec/coded_frame.h"
#include "common/codec/cuda_blocks.h"
#include "common/codec/entropy_segments.h"
#include "common/codec/entropy_tables.h"
#include "common/codec/rans_tables_cuda.h"

namespace qc2c {
namespace {

// The index in `table` of what the codes of `source` have in common; added if it is new.
absl::StatusOr<uint32_t> KindOf(const CodeSource& source, int gpu, CudaCodingTable& table) {
  RansKind kind = RansKindOf(source);
  ASSIGN_OR_RETURN(kind.tables,
                   RansTablesOnGpu(gpu, CodeFormOf(source.scheme), static_cast<int>(kind.bits)));
  // Those of a frame differ by their alphabet alone.
  const auto known = std::ranges::find(table.kinds, kind.tables.entries,
                                       [](const RansKind& other) { return other.tables.entries; });
  if (known == table.kinds.end()) {
    table.kinds.push_back(kind);
    return static_cast<uint32_t>(table.kinds.size() - 1);
  }
  return static_cast<uint32_t>(known - table.kinds.begin());
}

// A piece's codes, behind the frame's data.
absl::StatusOr<CodedRun> RunOf(const KvFrame& frame, const CodedPiece& piece, int gpu,
                               CudaCodingTable& table) {
  const KvBlock& block = frame.blocks[piece.block];
  CodedRun run = {.source = SourceOf(frame, block)};
  ASSIGN_OR_RETURN(run.kind, KindOf(run.source, gpu, table));
  const size_t token_codes = block.codes_bytes / frame.num_kept();
  run.codes_offset = block.codes_offset + token_codes * piece.first_token;
  run.codes_bytes = token_codes * piece.num_tokens;
  run.coded_offset = piece.offset;
  return run;
}

// Decodes every piece on the CPU, whose first error is the one.
absl::Status FirstError(const KvFrame& frame) {
  KvFrame plain = frame;
  RETURN_IF_ERROR(DecodeFrameCodes(plain));
  return absl::InternalError("coded codes: refused on the GPU and decoded on the CPU");
}

}  // namespace

size_t CudaCodingTable::upload_bytes() const {
  return AlignRegion(kinds.size() * sizeof(RansKind)) +
         AlignRegion(segments.size() * sizeof(RansSegment));
}

void CudaCodingTable::Write(uint8_t* host) const {
  std::memcpy(host, kinds.data(), kinds.size() * sizeof(RansKind));
  std::memcpy(host + AlignRegion(kinds.size() * sizeof(RansKind)), segments.data(),
              segments.size() * sizeof(RansSegment));
}

CudaRansSegments CudaCodingTable::At(const uint8_t* upload) const {
  return {.kinds = reinterpret_cast<const RansKind*>(upload),
          .segments = reinterpret_cast<const RansSegment*>(
              upload + AlignRegion(kinds.size() * sizeof(RansKind))),
          .num_segments = static_cast<uint32_t>(segments.size())};
}

absl::StatusOr<CudaFrameEncoding> CudaFrameEncoding::Create(const KvFrame& frame,
                                                            uint32_t chunk_bytes, int gpu) {
  CudaFrameEncoding coding;
  const KvBlock& last = frame.blocks.back();
  coding.codes_bytes_ = last.codes_offset + last.codes_bytes - frame.data.size();
  for (const FramePiece& planned : PlanPieces(frame, chunk_bytes)) {
    const CodedPiece piece = {planned.block, planned.first_token, planned.num_tokens};
    ASSIGN_OR_RETURN(const CodedRun run, RunOf(frame, piece, gpu, coding.table_));
    const size_t before = coding.table_.segments.size();
    AppendSegments(run, coding.slots_bytes_, coding.table_.segments);
    coding.pieces_.push_back(piece);
    coding.segments_of_piece_.push_back(coding.table_.segments.size() - before);
    coding.most_coded_ += MaxCodedBytes(frame.codec.entropy, run.source, run.codes_bytes);
  }
  return coding;
}

size_t CudaFrameEncoding::places_bytes() const {
  return is_nothing() ? 0 : AlignRegion((table_.segments.size() + 1) * sizeof(uint64_t));
}

size_t CudaFrameEncoding::made_bytes() const {
  return AlignRegion(table_.segments.size() * sizeof(CodedSegment));
}

size_t CudaFrameEncoding::scratch_bytes() const {
  return is_nothing() ? 0 : made_bytes() + AlignRegion(slots_bytes_) + AlignRegion(most_coded_);
}

const uint8_t* CudaFrameEncoding::Coded(const Memory& memory) const {
  return memory.scratch + made_bytes() + AlignRegion(slots_bytes_);
}

int CudaFrameEncoding::Queue(const Memory& memory, const uint8_t* data, CUstream_st* stream) const {
  const CudaRansEncoding encoding = {
      .segments = table_.At(memory.upload),
      .codes = data,
      .slots = memory.scratch + made_bytes(),
      .made = reinterpret_cast<CodedSegment*>(memory.scratch),
      .places = reinterpret_cast<uint64_t*>(memory.places),
      .coded = memory.scratch + made_bytes() + AlignRegion(slots_bytes_)};
  const int error = LaunchRansEncode(encoding, stream);
  return error != cudaSuccess ? error : LaunchRansGather(encoding, stream);
}

size_t CudaFrameEncoding::ReadPieces(const uint8_t* places, KvFrame& frame) const {
  // Where a segment's place begins, the length before it included; the end of all after the last.
  const auto begin_of = [&](size_t segment) {
    uint64_t place;
    std::memcpy(&place, places + segment * sizeof(place), sizeof(place));
    const bool is_end = segment == table_.segments.size();
    return static_cast<size_t>(place) - (is_end ? 0 : table_.segments[segment].prefix_bytes);
  };
  frame.coded_pieces = pieces_;
  size_t segment = 0;
  for (size_t i = 0; i < pieces_.size(); ++i) {
    CodedPiece& piece = frame.coded_pieces[i];
    piece.offset = begin_of(segment);
    segment += segments_of_piece_[i];
    piece.bytes = begin_of(segment) - piece.offset;
  }
  return begin_of(segment);
}

absl::StatusOr<CudaFrameDecoding> CudaFrameDecoding::Create(const KvFrame& frame, int gpu) {
  CudaFrameDecoding coding(frame);
  for (const CodedPiece& piece : frame.coded_pieces) {
    ASSIGN_OR_RETURN(const CodedRun run, RunOf(frame, piece, gpu, coding.table_));
    if (!AppendCodedSegments(run, frame.Coded(piece), coding.table_.segments)) {
      return FirstError(frame);
    }
  }
  return coding;
}

size_t CudaFrameDecoding::upload_bytes() const {
  return is_nothing() ? 0 : table_.upload_bytes() + AlignRegion(frame_->coded.size());
}

void CudaFrameDecoding::Write(uint8_t* host) const {
  table_.Write(host);
  std::ranges::copy(frame_->coded, host + table_.upload_bytes());
}

int CudaFrameDecoding::Queue(const uint8_t* upload, uint8_t* data, uint8_t* faults,
                             CUstream_st* stream) const {
  const cudaError_t error = cudaMemsetAsync(faults, 0, faults_bytes(), stream);
  if (error != cudaSuccess) return error;
  return LaunchRansDecode({.segments = table_.At(upload),
                           .coded = upload + table_.upload_bytes(),
                           .codes = data,
                           .faults = reinterpret_cast<uint32_t*>(faults)},
                          stream);
}

absl::Status CudaFrameDecoding::CheckFaults(const uint8_t* faults) const {
  const std::span<const uint8_t> bytes(faults, faults_bytes());
  if (std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0; })) return absl::OkStatus();
  return FirstError(*frame_);
}

}  // namespace qc2c
