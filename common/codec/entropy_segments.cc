#include "common/codec/entropy_segments.h"

#include "common/codec/entropy_tables.h"
#include "common/codec/scheme_registry.h"

namespace qc2c {
namespace {

size_t RowBytes(const CodeSource& source) {
  return FindScheme(source.scheme)->RowBytes(source.head_dim);
}

// Calls visit(segment, whether it is the run's last) for each, without what is about its coding.
template <typename Visit>
bool ForEachSegment(const CodedRun& run, Visit visit) {
  const size_t segment_bytes = SegmentCodesBytes(run.source);
  const size_t row_bytes = RowBytes(run.source);
  for (size_t done = 0; done < run.codes_bytes; done += segment_bytes) {
    const size_t bytes = std::min(segment_bytes, run.codes_bytes - done);
    const RansSegment segment = {
        .codes_offset = run.codes_offset + done,
        .codes_bytes = static_cast<uint32_t>(bytes),
        .num_symbols = static_cast<uint32_t>(bytes / row_bytes * run.source.head_dim),
        .kind = run.kind};
    if (!visit(segment, done + bytes == run.codes_bytes)) return false;
  }
  return true;
}

}  // namespace

size_t SegmentCodesBytes(const CodeSource& source) {
  const size_t token = size_t{1} * source.head_dim * source.num_heads;
  if (token > kMaxSegmentSymbols) return kMaxSegmentSymbols / source.head_dim * RowBytes(source);
  return kMaxSegmentSymbols / token * source.num_heads * RowBytes(source);
}

RansKind RansKindOf(const CodeSource& source) {
  const auto bits = static_cast<uint32_t>(FindScheme(source.scheme)->bits_per_value());
  const bool has_sign = CodeFormOf(source.scheme) == CodeForm::kTwosComplement;
  return {.bits = bits,
          .sign = has_sign ? 1u << (bits - 1) : 0,
          .head_dim = static_cast<uint32_t>(source.head_dim),
          .row_bytes = static_cast<uint32_t>(RowBytes(source)),
          .num_channels = static_cast<uint32_t>(source.head_dim) * source.num_heads};
}

void AppendSegments(const CodedRun& run, size_t& slots_bytes, std::vector<RansSegment>& segments) {
  const RansKind kind = RansKindOf(run.source);
  ForEachSegment(run, [&](RansSegment segment, bool is_last) {
    segment.coded_offset = slots_bytes;
    segment.prefix_bytes = is_last ? 0 : kSegmentLengthBytes;
    segments.push_back(segment);
    const uint32_t header_room =
        RansHeaderRoom(kind.num_channels, kind.MayChooseByChannel(segment.num_symbols));
    slots_bytes += RansSlotBytes(header_room, segment.codes_bytes);
    return true;
  });
}

bool AppendCodedSegments(const CodedRun& run, ByteSpan coded, std::vector<RansSegment>& segments) {
  size_t at = 0;
  return ForEachSegment(run, [&](RansSegment segment, bool is_last) {
    size_t length = coded.size() - at;
    if (!is_last) {
      if (length < kSegmentLengthBytes) return false;
      length = 0;
      for (size_t i = 0; i < kSegmentLengthBytes; ++i) length |= size_t{coded[at + i]} << 8 * i;
      at += kSegmentLengthBytes;
      if (length > coded.size() - at) return false;
    }
    segment.coded_offset = run.coded_offset + at;
    segment.coded_bytes = static_cast<uint32_t>(length);
    segments.push_back(segment);
    at += length;
    return true;
  });
}

}  // namespace qc2c
