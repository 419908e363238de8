// Lossless coding of a block's codes on their way to the wire: rANS under tables that both sides
// know, or zstd, the general-purpose coder to compare with. Decoded codes are equal to the codes.
// proto/FORMAT.md specifies the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "common/base/bytes.h"
#include "common/codec/codec_enums.h"

namespace qc2c {

// Whose codes: the scheme says how wide a code is and where its distribution has its middle; the
// shape, which codes are of the same channel.
struct CodeSource {
  Scheme scheme = Scheme::kInt8;
  int32_t head_dim = 0;
  int32_t num_heads = 1;
};

// Whether codes of `scheme` can be coded so: rANS not for the floats.
bool CanCode(Entropy entropy, Scheme scheme);

// The most bytes that EncodeCodes makes of `codes_bytes`, and that a reader accepts.
size_t MaxCodedBytes(Entropy entropy, const CodeSource& source, size_t codes_bytes);

// Codes `codes` [tokens, heads, row bytes]. Deterministic: rANS everywhere, zstd as far as the
// library's version is the same. REQUIRES: CanCode, and whole tokens, at least one.
std::vector<uint8_t> EncodeCodes(Entropy entropy, const CodeSource& source, ByteSpan codes);

// The inverse, into codes of a known size. Safe on untrusted bytes: reads only `coded`, writes only
// `codes`, and needs no more memory than a constant. DATA_LOSS if `coded` is not the coding of so
// many codes. REQUIRES: as above.
absl::Status DecodeCodes(Entropy entropy, const CodeSource& source, ByteSpan coded,
                         MutableByteSpan codes);

}  // namespace qc2c
