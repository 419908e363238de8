// Bytes that sharers' messages bring: how many they may, and what metrics say of them.
#pragma once

#include <cstdint>
#include <string>

#include "common/obs/qc2c_metrics.h"
#include "common/wire/frame_codec.h"

namespace qc2c {

// `sharer` is its address; `codec` is "text" for text.
void CountReceived(Qc2cMetrics& metrics, const std::string& sharer, const std::string& codec,
                   const WireBytes& bytes);

// More than any frame that meets the expectation has on the wire, whatever its codec: what may be
// held of a sharer's messages before they are read. No estimate of what a codec sends.
uint64_t MostBytes(const FrameExpectation& expectation);

}  // namespace qc2c
