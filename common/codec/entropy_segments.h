// The segments of ENTROPY_RANS (proto/FORMAT.md, section 14), for those who code them one by one:
// on a GPU, a warp each.
#pragma once

#include <cstddef>
#include <vector>

#include "common/base/bytes.h"
#include "common/codec/entropy.h"
#include "common/codec/rans_segment.h"

namespace qc2c {

// Bytes of the codes of a segment; the last one may be shorter. Whole tokens, but for shapes of
// which one token alone is more than a segment: then whole rows, and no tables by channel.
size_t SegmentCodesBytes(const CodeSource& source);

// The tables are left for the caller. REQUIRES: CanCode(Entropy::kRans, source.scheme).
RansKind RansKindOf(const CodeSource& source);

// A run of codes that is coded by itself, and of decoding where its coding lies.
struct CodedRun {
  CodeSource source;
  uint32_t kind = 0;  // the segments', in a list of RansKind
  size_t codes_offset = 0;
  size_t codes_bytes = 0;
  size_t coded_offset = 0;
};

// The segments of a run's codes, for encoding, appended to `segments`: each has a slot in memory
// that already has `slots_bytes`, which grow.
void AppendSegments(const CodedRun& run, size_t& slots_bytes, std::vector<RansSegment>& segments);

// The segments of a run's coding, appended to `segments`; false where their lengths do not fit
// (DecodeCodes says what is wrong).
bool AppendCodedSegments(const CodedRun& run, ByteSpan coded, std::vector<RansSegment>& segments);

}  // namespace qc2c
