// libFuzzer: RansDecode on any bytes. What it accepts must be what RansEncode writes for the
// symbols that came out. Input: lanes, count of symbols (2 bytes), then a byte a symbol's table,
// then the stream.
#include <algorithm>
#include <cstdlib>

#include "common/codec/entropy_tables.h"
#include "common/codec/rans.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace qc2c;  // NOLINT(google-build-using-namespace): libFuzzer wants a global function
  static const std::span<const RansTable> kTables = EntropyTables(CodeForm::kTwosComplement, 4);
  constexpr int kLanes[] = {1, 8, 32};
  if (size < 3) return 0;
  const int lanes = kLanes[data[0] % 3];
  const size_t num_symbols = data[1] | (data[2] & 0x0f) << 8;
  ByteSpan rest(data + 3, size - 3);
  std::vector<uint8_t> table_of(num_symbols, 0);
  const size_t num_chosen = std::min(num_symbols, rest.size());
  for (size_t i = 0; i < num_chosen; ++i) table_of[i] = rest[i] % kTables.size();
  const ByteSpan stream = rest.subspan(num_chosen);
  std::vector<uint8_t> symbols(num_symbols);
  if (!RansDecode(stream, table_of, kTables, lanes, symbols).ok()) return 0;
  const auto again = RansEncode(symbols, table_of, kTables, lanes);
  if (!again.ok() || !std::ranges::equal(*again, stream)) std::abort();
  return 0;
}
