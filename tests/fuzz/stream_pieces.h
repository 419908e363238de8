// What the fuzz tests of frames share.
#pragma once

#include <string>
#include <vector>

#include "common/wire/frame_codec.h"

namespace qc2c {

using Messages = std::vector<std::string>;

// Gives the trailers the checksum that fits, so that the checks behind it are reached. Stops at a
// message that does not parse.
void RepairChecksum(Messages& messages);

// A cache of exactly the size that a frame decodes to, so that the sanitizer sees any overrun.
class DecodeTarget {
 public:
  explicit DecodeTarget(const KvFrame& frame);
  const KvCacheView& view() const { return view_; }

 private:
  std::vector<std::vector<float>> memory_;
  KvCacheView view_;
};

}  // namespace qc2c
