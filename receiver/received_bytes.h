// Bytes that sharers' messages brought, as metrics say them.
#pragma once

#include <string>

#include "common/obs/qc2c_metrics.h"
#include "common/wire/frame_codec.h"

namespace qc2c {

// `sharer` is its address; `codec` is "text" for text.
void CountReceived(Qc2cMetrics& metrics, const std::string& sharer, const std::string& codec,
                   const WireBytes& bytes);

}  // namespace qc2c
