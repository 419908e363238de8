#include "common/codec/klt_coefficients.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/rans.h"

namespace qc2c {
namespace {

// How a component's values are coded: the high part under a table, the low bits as they are.
struct ComponentCode {
  uint8_t table = 0;
  int low_bits = 0;

  uint8_t low_table() const {
    return static_cast<uint8_t>(kKltNumShapes * kKltNumSpreads + low_bits - 1);
  }
  // Half of the low part's range, so that the high part of small values is 0.
  int32_t offset() const { return low_bits == 0 ? 0 : 1 << (low_bits - 1); }
};

ComponentCode CodeOf(const KltBasis& basis, size_t component, int step) {
  const int spread = basis.sigma[component] - step;
  const int low_bits = spread > kKltMaxSpread ? (spread - kKltMaxSpread + 3) / 4 : 0;
  const int row = spread - 4 * low_bits - kKltMinSpread;
  return {static_cast<uint8_t>(basis.shape[component] * kKltNumSpreads + row), low_bits};
}

template <typename Visit>
void ForEachComponent(std::span<const KltRun> runs, const Visit& visit) {
  for (const KltRun& run : runs) {
    for (size_t c = 0; c < run.num_sent; ++c) visit(CodeOf(*run.basis, c, run.step));
  }
}

// Whether the table has a symbol for a high part.
bool HasSymbol(const RansTable& table, int32_t high) {
  return std::abs(high) <= kKltLargestValue &&
         table.Frequency(static_cast<uint8_t>(high + kKltLargestValue)) > 0;
}

uint32_t ZigZag(int32_t value) {
  return (static_cast<uint32_t>(value) << 1) ^ static_cast<uint32_t>(value >> 31);
}
int32_t UnZigZag(uint32_t bits) {
  return static_cast<int32_t>(bits >> 1) ^ -static_cast<int32_t>(bits & 1);
}

void AppendVarint(uint32_t value, std::vector<uint8_t>& bytes) {
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<uint8_t>(value | 0x80));
  bytes.push_back(static_cast<uint8_t>(value));
}

absl::Status Bad(const std::string& what) {
  return absl::DataLossError(absl::StrCat("klt codes: ", what));
}

// Takes the shortest spelling of a varint off `bytes`.
absl::StatusOr<uint32_t> TakeVarint(ByteSpan& bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < std::min<size_t>(bytes.size(), 5); ++i) {
    value |= static_cast<uint64_t>(bytes[i] & 0x7f) << (7 * i);
    if ((bytes[i] & 0x80) != 0) continue;
    if ((i > 0 && bytes[i] == 0) || value > UINT32_MAX) return Bad("an escape is too long");
    bytes = bytes.subspan(i + 1);
    return static_cast<uint32_t>(value);
  }
  return Bad("an escape is not complete");
}

absl::StatusOr<int32_t> TakeEscape(const RansTable& table, ByteSpan& escapes) {
  ASSIGN_OR_RETURN(const uint32_t bits, TakeVarint(escapes));
  const int32_t high = UnZigZag(bits);
  if (high > kMaxKltValue || high < -kMaxKltValue) {
    return Bad(absl::StrCat("an escape is ", high, ": expected at most ", kMaxKltValue));
  }
  if (HasSymbol(table, high)) {
    return Bad(absl::StrCat("an escape is ", high, ", for which there is a symbol"));
  }
  return high;
}

}  // namespace

absl::StatusOr<KltBytes> EncodeKltValues(const KltCodebook& codebook, std::span<const KltRun> runs,
                                         std::span<const int32_t> values) {
  std::vector<uint8_t> symbols, tables;
  KltBytes bytes;
  size_t i = 0;
  ForEachComponent(runs, [&](const ComponentCode& code) {
    const int32_t shifted = values[i++] + code.offset();
    const int32_t high = shifted >> code.low_bits;
    const bool has_symbol = HasSymbol(codebook.tables[code.table], high);
    if (!has_symbol) AppendVarint(ZigZag(high), bytes.escapes);
    symbols.push_back(has_symbol ? static_cast<uint8_t>(high + kKltLargestValue) : kKltEscape);
    tables.push_back(code.table);
    if (code.low_bits == 0) return;
    symbols.push_back(static_cast<uint8_t>(shifted & ((1 << code.low_bits) - 1)));
    tables.push_back(code.low_table());
  });
  if (symbols.empty()) return bytes;
  ASSIGN_OR_RETURN(bytes.codes,
                   RansEncode(symbols, tables, codebook.tables, RansLanesFor(symbols.size())));
  return bytes;
}

double KltSymbolBits(const KltCodebook& codebook, const KltRun& run,
                     std::span<const int32_t> values) {
  double bits = 0;
  for (size_t c = 0; c < run.num_sent; ++c) {
    const ComponentCode code = CodeOf(*run.basis, c, run.step);
    const RansTable& table = codebook.tables[code.table];
    const int32_t high = (values[c] + code.offset()) >> code.low_bits;
    const uint32_t frequency = HasSymbol(table, high)
                                   ? table.Frequency(static_cast<uint8_t>(high + kKltLargestValue))
                                   : table.Frequency(kKltEscape);
    bits += kRansBits - std::log2(frequency) + code.low_bits;
  }
  return bits;
}

absl::StatusOr<std::vector<int32_t>> DecodeKltValues(const KltCodebook& codebook,
                                                     std::span<const KltRun> runs, ByteSpan codes,
                                                     ByteSpan escapes) {
  std::vector<uint8_t> tables;
  size_t num_values = 0;
  ForEachComponent(runs, [&](const ComponentCode& code) {
    ++num_values;
    tables.push_back(code.table);
    if (code.low_bits > 0) tables.push_back(code.low_table());
  });
  std::vector<uint8_t> symbols(tables.size());
  if (!symbols.empty()) {
    RETURN_IF_ERROR(
        RansDecode(codes, tables, codebook.tables, RansLanesFor(symbols.size()), symbols));
  } else if (!codes.empty()) {
    return Bad(absl::StrCat(codes.size(), " bytes: expected none, as nothing is coded"));
  }
  std::vector<int32_t> values;
  values.reserve(num_values);
  absl::Status status;
  size_t i = 0;
  ForEachComponent(runs, [&](const ComponentCode& code) {
    if (!status.ok()) return;
    const uint8_t symbol = symbols[i++];
    int32_t high = symbol - kKltLargestValue;
    if (symbol == kKltEscape) {
      const absl::StatusOr<int32_t> escape = TakeEscape(codebook.tables[code.table], escapes);
      status = escape.status();
      if (escape.ok()) high = *escape;
    }
    const int64_t low = code.low_bits == 0 ? 0 : symbols[i++];
    const int64_t value = int64_t{high} * (int64_t{1} << code.low_bits) + low - code.offset();
    if (std::abs(value) > kMaxKltValue) status.Update(Bad("a value is out of range"));
    values.push_back(static_cast<int32_t>(value));
  });
  RETURN_IF_ERROR(status);
  if (!escapes.empty()) return Bad(absl::StrCat(escapes.size(), " bytes behind the last escape"));
  return values;
}

}  // namespace qc2c
