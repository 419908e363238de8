// The tables of entropy_tables.h laid out for look-ups by single numbers, as the lanes of a warp
// make them.
#pragma once

#include <cstdint>
#include <vector>

#include "common/codec/entropy_tables.h"
#include "common/codec/rans_segment.h"

namespace qc2c {

// The arrays of RansTables.
struct RansLookup {
  std::vector<uint32_t> entries;
  std::vector<uint64_t> pushes;
  std::vector<uint16_t> buckets;
  std::vector<uint32_t> costs;

  RansTables View() const { return {entries.data(), pushes.data(), buckets.data(), costs.data()}; }
};

// REQUIRES: as EntropyTables.
RansLookup MakeRansLookup(CodeForm form, int bits);

}  // namespace qc2c
