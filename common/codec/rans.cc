#include "common/codec/rans.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

absl::Status CheckTables(size_t num_symbols, std::span<const uint8_t> table_of, size_t num_tables) {
  if (table_of.size() != num_symbols) {
    return absl::InvalidArgumentError(absl::StrCat("rANS: ", table_of.size(), " tables for ",
                                                   num_symbols, " symbols: expected as many"));
  }
  const auto wrong =
      std::ranges::find_if(table_of, [num_tables](uint8_t table) { return table >= num_tables; });
  if (wrong == table_of.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("rANS: symbol ", wrong - table_of.begin(),
                                                 " has table ", static_cast<int>(*wrong),
                                                 ": expected less than ", num_tables));
}

void Append(uint32_t value, size_t num_bytes, std::vector<uint8_t>& stream) {
  for (size_t i = 0; i < num_bytes; ++i) stream.push_back(static_cast<uint8_t>(value >> 8 * i));
}

// The last symbol first: the decoder, which begins where the encoder ended, gets them in order.
template <int kLanes, typename TableOf>
absl::StatusOr<std::vector<uint8_t>> EncodeLanes(std::span<const uint8_t> symbols,
                                                 const TableOf& table_of) {
  std::array<uint32_t, kLanes> states{};
  states.fill(FirstRansState(kLanes));
  std::vector<uint8_t> stream;
  stream.reserve(symbols.size() + kLanes * kRansStateBytes);
  for (size_t i = symbols.size(); i-- > 0;) {
    const RansTable& table = table_of(i);
    const uint32_t frequency = table.Frequency(symbols[i]);
    if (frequency == 0) {
      return absl::InvalidArgumentError(absl::StrCat("rANS: symbol ", i, " is ",
                                                     static_cast<int>(symbols[i]),
                                                     ": expected one of a frequency above 0"));
    }
    uint32_t& x = states[i % kLanes];
    if (EmitsWord(x, frequency)) {
      Append(x & 0xffff, kRansWordBytes, stream);
      x >>= 16;
    }
    x = ((x / frequency) << kRansBits) + table.Start(symbols[i]) + x % frequency;
  }
  for (const uint32_t state : states) Append(state, kRansStateBytes, stream);
  if (kLanes == 1) {
    while (!stream.empty() && stream.back() == 0) stream.pop_back();
  }
  return stream;
}

// The words of a stream from its end to its beginning.
class WordReader {
 public:
  explicit WordReader(ByteSpan stream) : stream_(stream), left_(stream.size()) {}

  bool Empty() const { return left_ == 0; }
  // REQUIRES: not Empty(). Of a single byte the upper half is zero.
  uint32_t Take() {
    const uint32_t high = left_ % kRansWordBytes == 0 ? stream_[--left_] : 0;
    return high << 8 | stream_[--left_];
  }

 private:
  const ByteSpan stream_;
  size_t left_;
};

absl::Status Lost(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("rANS stream: ", what));
}

// Takes the states off the end of the stream.
template <int kLanes>
absl::Status ReadStates(ByteSpan stream, WordReader& words, std::array<uint32_t, kLanes>& states) {
  if (kLanes == 1) {
    if (!stream.empty() && stream.back() == 0) return Lost("ends with a zero");
    states[0] = 0;
    while (states[0] < kRansLow && !words.Empty()) states[0] = states[0] << 16 | words.Take();
    return absl::OkStatus();
  }
  if (stream.size() < kLanes * kRansStateBytes || stream.size() % kRansWordBytes != 0) {
    return Lost(absl::StrCat("has ", stream.size(), " bytes: expected an even number of at least ",
                             kLanes * kRansStateBytes));
  }
  for (int lane = kLanes; lane-- > 0;) {
    states[lane] = words.Take() << 16;
    states[lane] |= words.Take();
    if (states[lane] < kRansLow)
      return Lost(absl::StrCat("the state of lane ", lane, " is too small"));
  }
  return absl::OkStatus();
}

template <int kLanes, typename TableOf>
absl::Status DecodeLanes(ByteSpan stream, const TableOf& table_of, std::span<uint8_t> symbols) {
  WordReader words(stream);
  std::array<uint32_t, kLanes> states{};
  RETURN_IF_ERROR(ReadStates<kLanes>(stream, words, states));
  for (size_t first = 0; first < symbols.size(); first += kLanes) {
    const int num = static_cast<int>(std::min<size_t>(kLanes, symbols.size() - first));
    for (int lane = 0; lane < num; ++lane) {
      const RansTable& table = table_of(first + lane);
      uint32_t& x = states[lane];
      const uint32_t slot = x & kRansSlotMask;
      const uint8_t symbol = table.SymbolAt(slot);
      symbols[first + lane] = symbol;
      x = table.Frequency(symbol) * (x >> kRansBits) + slot - table.Start(symbol);
      if (x >= kRansLow) continue;
      if (!words.Empty()) {
        x = x << 16 | words.Take();
      } else if (kLanes > 1) {
        return Lost(absl::StrCat("ends at symbol ", first + lane, " of ", symbols.size()));
      }
    }
  }
  if (!words.Empty()) return Lost("is longer than its symbols");
  if (std::ranges::any_of(states, [](uint32_t x) { return x != FirstRansState(kLanes); })) {
    return Lost("the final state is wrong");
  }
  return absl::OkStatus();
}

absl::Status UnknownLanes(int num_lanes) {
  return absl::InvalidArgumentError(
      absl::StrCat("rANS: ", num_lanes, " lanes: expected 1, 8 or 32"));
}

template <typename TableOf>
absl::StatusOr<std::vector<uint8_t>> Encode(std::span<const uint8_t> symbols,
                                            const TableOf& table_of, int num_lanes) {
  switch (num_lanes) {
    case 1:
      return EncodeLanes<1>(symbols, table_of);
    case 8:
      return EncodeLanes<8>(symbols, table_of);
    case 32:
      return EncodeLanes<32>(symbols, table_of);
    default:
      return UnknownLanes(num_lanes);
  }
}

template <typename TableOf>
absl::Status Decode(ByteSpan stream, const TableOf& table_of, int num_lanes,
                    std::span<uint8_t> symbols) {
  switch (num_lanes) {
    case 1:
      return DecodeLanes<1>(stream, table_of, symbols);
    case 8:
      return DecodeLanes<8>(stream, table_of, symbols);
    case 32:
      return DecodeLanes<32>(stream, table_of, symbols);
    default:
      return UnknownLanes(num_lanes);
  }
}

}  // namespace

absl::StatusOr<RansTable> RansTable::Create(std::span<const uint16_t> frequencies) {
  if (frequencies.empty() || frequencies.size() > kMaxRansSymbols) {
    return absl::InvalidArgumentError(absl::StrCat(
        "rANS table: ", frequencies.size(), " frequencies: expected 1 to ", kMaxRansSymbols));
  }
  uint32_t sum = 0;
  for (const uint16_t frequency : frequencies) sum += frequency;
  if (sum != 1 << kRansBits) {
    return absl::InvalidArgumentError(
        absl::StrCat("rANS table: the frequencies add up to ", sum, ": expected ", 1 << kRansBits));
  }
  RansTable table;
  table.num_symbols_ = frequencies.size();
  table.symbol_of_slot_.reserve(sum);
  for (size_t symbol = 0; symbol < frequencies.size(); ++symbol) {
    table.frequency_[symbol] = frequencies[symbol];
    table.start_[symbol] = static_cast<uint16_t>(table.symbol_of_slot_.size());
    table.symbol_of_slot_.insert(table.symbol_of_slot_.end(), frequencies[symbol],
                                 static_cast<uint8_t>(symbol));
  }
  return table;
}

absl::StatusOr<std::vector<uint8_t>> RansEncode(std::span<const uint8_t> symbols,
                                                std::span<const uint8_t> table_of,
                                                std::span<const RansTable> tables, int num_lanes) {
  RETURN_IF_ERROR(CheckTables(symbols.size(), table_of, tables.size()));
  const auto table = [&](size_t i) -> const RansTable& { return tables[table_of[i]]; };
  return Encode(symbols, table, num_lanes);
}

absl::StatusOr<std::vector<uint8_t>> RansEncode(std::span<const uint8_t> symbols,
                                                const RansTable& table, int num_lanes) {
  return Encode(symbols, [&](size_t) -> const RansTable& { return table; }, num_lanes);
}

absl::Status RansDecode(ByteSpan stream, std::span<const uint8_t> table_of,
                        std::span<const RansTable> tables, int num_lanes,
                        std::span<uint8_t> symbols) {
  RETURN_IF_ERROR(CheckTables(symbols.size(), table_of, tables.size()));
  const auto table = [&](size_t i) -> const RansTable& { return tables[table_of[i]]; };
  return Decode(stream, table, num_lanes, symbols);
}

absl::Status RansDecode(ByteSpan stream, const RansTable& table, int num_lanes,
                        std::span<uint8_t> symbols) {
  return Decode(stream, [&](size_t) -> const RansTable& { return table; }, num_lanes, symbols);
}

}  // namespace qc2c
