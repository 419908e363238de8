#include "common/codec/rans_lookup.h"

namespace qc2c {

RansLookup MakeRansLookup(CodeForm form, int bits) {
  const std::span<const RansTable> tables = EntropyTables(form, bits);
  const std::span<const uint32_t> costs = EntropyTableCosts(form, bits);
  const size_t alphabet = size_t{1} << bits;
  RansLookup lookup;
  for (const RansTable& table : tables) {
    for (size_t s = 0; s < alphabet; ++s) {
      const auto symbol = static_cast<uint8_t>(s);
      const uint32_t frequency = table.Frequency(symbol);
      lookup.entries.push_back(RansEntry(frequency, table.Start(symbol)));
      lookup.pushes.push_back(lookup.entries.back() | uint64_t{RansReciprocal(frequency)} << 32);
    }
    for (uint32_t bucket = 0; bucket < kRansBuckets; ++bucket) {
      const uint32_t least = table.SymbolAt(bucket << kRansBucketShift);
      const uint32_t largest = table.SymbolAt(((bucket + 1) << kRansBucketShift) - 1);
      lookup.buckets.push_back(static_cast<uint16_t>(least | largest << 8));
    }
  }
  for (size_t symbol = 0; symbol < alphabet; ++symbol) {
    for (size_t table = 0; table < tables.size(); ++table) {
      lookup.costs.push_back(costs[table * alphabet + symbol]);
    }
  }
  return lookup;
}

}  // namespace qc2c
