// Range asymmetric numeral systems (rANS, Duda 2013) with frequency tables that both sides hold:
// no table travels. Interleaved: symbol i belongs to lane i % num_lanes, each lane has a state of
// its own, and all lanes share one sequence of 16-bit words, so that a decoder works on several
// symbols at once. proto/FORMAT.md specifies the bytes.
//
// What is encoded: a sequence of symbols below 256, each under a table of the caller's choice. The
// number of symbols, the tables and the number of lanes are not in the stream. Integers only: the
// same input gives the same bytes anywhere. One symbol of frequency f costs log2(2^14 / f) bits; a
// stream costs at most 2 bytes beside that with one lane, and 4 a lane with several.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/codec/rans_step.h"

namespace qc2c {

inline constexpr size_t kMaxRansSymbols = 256;

// The frequencies of the symbols 0, 1, ... of an alphabet. Immutable; 17 kB.
class RansTable {
 public:
  // INVALID_ARGUMENT unless there are 1 to 256 frequencies that add up to 2^14. A symbol of
  // frequency 0 cannot be encoded and is never decoded.
  static absl::StatusOr<RansTable> Create(std::span<const uint16_t> frequencies);

  size_t num_symbols() const { return num_symbols_; }
  // 0 for a symbol outside the alphabet.
  uint32_t Frequency(uint8_t symbol) const { return frequency_[symbol]; }
  // The sum of the frequencies of the symbols below.
  uint32_t Start(uint8_t symbol) const { return start_[symbol]; }
  // The symbol with Start <= slot < Start + Frequency. REQUIRES: slot < 2^14.
  uint8_t SymbolAt(uint32_t slot) const { return symbol_of_slot_[slot]; }

 private:
  RansTable() = default;

  size_t num_symbols_ = 0;
  std::array<uint16_t, kMaxRansSymbols> frequency_{};
  std::array<uint16_t, kMaxRansSymbols> start_{};
  std::vector<uint8_t> symbol_of_slot_;  // [2^14]
};

// The stream of `symbols`, symbol i under tables[table_of[i]]. INVALID_ARGUMENT for a symbol of
// frequency 0, a table index that is none, lists of different lengths, or a number of lanes other
// than 1, 8 and 32.
absl::StatusOr<std::vector<uint8_t>> RansEncode(std::span<const uint8_t> symbols,
                                                std::span<const uint8_t> table_of,
                                                std::span<const RansTable> tables, int num_lanes);
// The same with one table for all symbols.
absl::StatusOr<std::vector<uint8_t>> RansEncode(std::span<const uint8_t> symbols,
                                                const RansTable& table, int num_lanes);

// Decodes symbols.size() symbols. Safe on untrusted streams: reads only `stream`, writes only
// `symbols`, allocates nothing. A stream that RansEncode would not have written for any symbols is
// DATA_LOSS: too short or too long, a state out of range, a wrong final state. INVALID_ARGUMENT for
// wrong tables or lanes, as above. After an error the content of `symbols` is arbitrary.
absl::Status RansDecode(ByteSpan stream, std::span<const uint8_t> table_of,
                        std::span<const RansTable> tables, int num_lanes,
                        std::span<uint8_t> symbols);
absl::Status RansDecode(ByteSpan stream, const RansTable& table, int num_lanes,
                        std::span<uint8_t> symbols);

}  // namespace qc2c
