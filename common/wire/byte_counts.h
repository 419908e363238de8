// Bytes as an answer says them.
#pragma once

#include "common/wire/frame_codec.h"
#include "qc2c/v1/receiver.pb.h"

namespace qc2c {

// Without `formula` and `raw`, which messages do not have.
v1::ByteCounts ByteCountsOf(const WireBytes& bytes);

// Adds every field.
void AddByteCounts(const v1::ByteCounts& bytes, v1::ByteCounts& total);

}  // namespace qc2c
