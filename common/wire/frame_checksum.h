// The canonical bytes under CacheTrailer.checksum; proto/FORMAT.md section "Checksum".
#pragma once

#include <cstdint>

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "qc2c/v1/cache.pb.h"

namespace qc2c {

// Every field of the header in the order of its number, messages flattened, each as four bytes
// little-endian (model_fingerprint: eight); `indices` and each list of layers preceded by their
// length. A codec's fields from 11 to 19 count only if present, each behind its number.
// A schedule (fields 20 to 22) comes last, and only if there is one.
void AddHeader(Hasher& hasher, const v1::CacheHeader& header);

// The same for one block as it is sent.
void AddBlock(Hasher& hasher, uint32_t layer, uint32_t half, uint32_t first_token,
              uint32_t num_tokens, ByteSpan codes, ByteSpan scales);

}  // namespace qc2c
