// Bytes that sharers' messages brought, as answers and metrics say them.
#pragma once

#include <string>

#include "common/obs/qc2c_metrics.h"
#include "common/wire/frame_codec.h"
#include "qc2c/v1/receiver.pb.h"

namespace qc2c {

// Without `formula` and `raw`, which messages do not have.
v1::ByteCounts ByteCountsOf(const WireBytes& bytes);

// Adds every field.
void AddByteCounts(const v1::ByteCounts& bytes, v1::ByteCounts& total);

// `sharer` is its address; `codec` is "text" for text.
void CountReceived(Qc2cMetrics& metrics, const std::string& sharer, const std::string& codec,
                   const WireBytes& bytes);

}  // namespace qc2c
