#include "common/codec/entropy.h"

#include <zstd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/bit_packing.h"
#include "common/codec/entropy_segments.h"
#include "common/codec/entropy_tables.h"
#include "common/codec/rans.h"
#include "common/codec/scheme_registry.h"

namespace qc2c {
namespace {

constexpr uint8_t kCompressed = 1;  // a zstd frame follows; kStoredSegment: the codes as they are
constexpr int kZstdLevel = 3;

absl::Status Lost(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("coded codes: ", what));
}

// The symbols of some rows of codes, and back.
class SymbolRows {
 public:
  explicit SymbolRows(const CodeSource& source)
      : form_(CodeFormOf(source.scheme)), kind_(RansKindOf(source)) {}

  CodeForm form() const { return form_; }
  int bits() const { return static_cast<int>(kind_.bits); }
  size_t alphabet() const { return kind_.alphabet(); }
  size_t num_channels() const { return kind_.num_channels; }
  std::span<const RansTable> tables() const { return EntropyTables(form_, bits()); }
  // REQUIRES: the symbols of a segment.
  bool MayChooseByChannel(size_t num_symbols) const {
    return kind_.MayChooseByChannel(static_cast<uint32_t>(num_symbols));
  }
  size_t NumSymbols(size_t codes_bytes) const {
    return codes_bytes / kind_.row_bytes * kind_.head_dim;
  }

  // Whether every row ends with zero bits, so that its symbols are all that it holds.
  bool EndWithZeros(ByteSpan codes) const {
    const size_t used = kind_.head_dim * kind_.bits % 8;
    if (used == 0) return true;
    for (size_t end = kind_.row_bytes; end <= codes.size(); end += kind_.row_bytes) {
      if (codes[end - 1] >> used != 0) return false;
    }
    return true;
  }

  void Unpack(ByteSpan codes, std::span<uint8_t> symbols) const {
    for (size_t row = 0; row < codes.size() / kind_.row_bytes; ++row) {
      UnpackCodes(bits(), codes.data() + row * kind_.row_bytes, kind_.head_dim,
                  symbols.data() + row * kind_.head_dim);
    }
    TurnSigns(symbols);
  }

  // Changes `symbols`.
  void Pack(std::span<uint8_t> symbols, MutableByteSpan codes) const {
    TurnSigns(symbols);
    for (size_t row = 0; row < codes.size() / kind_.row_bytes; ++row) {
      PackCodes(bits(), symbols.data() + row * kind_.head_dim, kind_.head_dim,
                codes.data() + row * kind_.row_bytes);
    }
  }

 private:
  void TurnSigns(std::span<uint8_t> symbols) const {
    if (kind_.sign == 0) return;
    for (uint8_t& symbol : symbols) symbol ^= static_cast<uint8_t>(kind_.sign);
  }

  const CodeForm form_;
  const RansKind kind_;  // without tables
};

struct Buffers {
  std::array<uint8_t, kMaxSegmentSymbols> symbols;
  std::array<uint8_t, kMaxSegmentSymbols> table_of;
};

struct ChannelTables {
  std::vector<uint8_t> coded;  // [num_channels]: the table's number, the shift
  uint64_t cost = 0;           // of all symbols, and of `coded` itself
};

// Keys have channels with a mean of their own: the middle goes to the channel's median.
uint8_t ShiftOf(std::span<const uint32_t> counts) {
  const uint64_t num = std::accumulate(counts.begin(), counts.end(), uint64_t{0});
  size_t median = 0;
  for (uint64_t below = counts[0]; 2 * below < num; below += counts[median]) ++median;
  return static_cast<uint8_t>((median - counts.size() / 2) % counts.size());
}

ChannelTables ChooseByChannel(const SymbolRows& rows, std::span<const uint8_t> symbols) {
  const size_t num_channels = rows.num_channels();
  const size_t alphabet = rows.alphabet();
  std::vector<uint32_t> counts(num_channels * alphabet, 0);
  for (size_t i = 0; i < symbols.size(); ++i) ++counts[i % num_channels * alphabet + symbols[i]];
  ChannelTables chosen;
  std::vector<uint32_t> moved(alphabet);
  for (size_t channel = 0; channel < num_channels; ++channel) {
    const auto own = std::span(counts).subspan(channel * alphabet, alphabet);
    const uint8_t shift = ShiftOf(own);
    for (size_t s = 0; s < alphabet; ++s) moved[s] = own[(s + shift) % alphabet];
    const TableChoice best = BestEntropyTable(rows.form(), rows.bits(), moved);
    chosen.coded.push_back(static_cast<uint8_t>(best.number));
    chosen.coded.push_back(shift);
    chosen.cost += best.cost;
  }
  chosen.cost += uint64_t{8} * chosen.coded.size() << kCostBits;
  return chosen;
}

std::vector<uint8_t> EncodeByChannel(const SymbolRows& rows, const ChannelTables& chosen,
                                     std::span<uint8_t> symbols, std::span<uint8_t> table_of) {
  const auto mask = static_cast<uint8_t>(rows.alphabet() - 1);
  for (size_t i = 0; i < symbols.size(); ++i) {
    const uint8_t* const own = &chosen.coded[i % rows.num_channels() * kChannelBytes];
    table_of[i] = static_cast<uint8_t>(own[0] - 1);
    symbols[i] = static_cast<uint8_t>((symbols[i] - own[1]) & mask);
  }
  std::vector<uint8_t> segment = {kByChannelSegment};
  segment.insert(segment.end(), chosen.coded.begin(), chosen.coded.end());
  const std::vector<uint8_t> stream =
      RansEncode(symbols, table_of, rows.tables(), RansLanesFor(symbols.size())).value();
  segment.insert(segment.end(), stream.begin(), stream.end());
  return segment;
}

std::vector<uint8_t> EncodeWithOneTable(const SymbolRows& rows, uint32_t number,
                                        std::span<const uint8_t> symbols) {
  std::vector<uint8_t> segment = {static_cast<uint8_t>(number)};
  const std::vector<uint8_t> stream =
      RansEncode(symbols, rows.tables()[number - 1], RansLanesFor(symbols.size())).value();
  segment.insert(segment.end(), stream.begin(), stream.end());
  return segment;
}

// One segment: its table or tables and its stream; kStoredSegment and its codes if that is shorter,
// or if symbols cannot say everything (a frame that was read may have any bits).
void AppendSegment(const SymbolRows& rows, ByteSpan codes, Buffers& buffers,
                   std::vector<uint8_t>& coded) {
  const auto symbols = std::span(buffers.symbols).first(rows.NumSymbols(codes.size()));
  rows.Unpack(codes, symbols);
  std::array<uint32_t, kMaxRansSymbols> counts{};
  for (const uint8_t symbol : symbols) ++counts[symbol];
  const TableChoice one =
      BestEntropyTable(rows.form(), rows.bits(), std::span(counts).first(rows.alphabet()));
  ChannelTables by_channel;
  if (rows.MayChooseByChannel(symbols.size())) by_channel = ChooseByChannel(rows, symbols);
  const bool channels_win = !by_channel.coded.empty() && by_channel.cost < one.cost;
  const std::vector<uint8_t> segment =
      channels_win ? EncodeByChannel(rows, by_channel, symbols,
                                     std::span(buffers.table_of).first(symbols.size()))
                   : EncodeWithOneTable(rows, one.number, symbols);
  if (segment.size() <= codes.size() && rows.EndWithZeros(codes)) {
    coded.insert(coded.end(), segment.begin(), segment.end());
    return;
  }
  coded.push_back(kStoredSegment);
  coded.insert(coded.end(), codes.begin(), codes.end());
}

std::vector<uint8_t> EncodeRans(const CodeSource& source, ByteSpan codes) {
  const SymbolRows rows(source);
  const auto buffers = std::make_unique<Buffers>();
  const size_t segment_bytes = SegmentCodesBytes(source);
  std::vector<uint8_t> coded;
  while (codes.size() > segment_bytes) {
    const size_t begin = coded.size();
    coded.resize(begin + kSegmentLengthBytes);
    AppendSegment(rows, codes.first(segment_bytes), *buffers, coded);
    const size_t length = coded.size() - begin - kSegmentLengthBytes;
    for (size_t i = 0; i < kSegmentLengthBytes; ++i) {
      coded[begin + i] = static_cast<uint8_t>(length >> 8 * i);
    }
    codes = codes.subspan(segment_bytes);
  }
  AppendSegment(rows, codes, *buffers, coded);
  return coded;
}

// What is stored must have the size of the codes.
absl::Status DecodeStored(ByteSpan stored, MutableByteSpan codes) {
  if (stored.size() != codes.size()) {
    return Lost(absl::StrCat("has ", stored.size(), " bytes stored: expected ", codes.size()));
  }
  std::ranges::copy(stored, codes.begin());
  return absl::OkStatus();
}

absl::Status CheckTable(uint8_t number) {
  if (number >= 1 && number <= kNumEntropyTables) return absl::OkStatus();
  return Lost(
      absl::StrCat("table ", static_cast<int>(number), ": expected 1 to ", kNumEntropyTables));
}

// Undoes EncodeByChannel, its first byte taken off; leaves the symbols in `symbols`.
absl::Status DecodeByChannel(const SymbolRows& rows, ByteSpan segment, std::span<uint8_t> symbols,
                             std::span<uint8_t> table_of) {
  const size_t num_channels = rows.num_channels();
  if (symbols.size() % num_channels != 0 || segment.size() / kChannelBytes < num_channels) {
    return Lost(absl::StrCat("tables for ", num_channels, " channels of ", symbols.size(),
                             " symbols in ", segment.size(), " bytes: expected whole tokens and ",
                             kChannelBytes, " bytes a channel"));
  }
  for (size_t channel = 0; channel < num_channels; ++channel) {
    RETURN_IF_ERROR(CheckTable(segment[channel * kChannelBytes]));
    const uint8_t shift = segment[channel * kChannelBytes + 1];
    if (shift < rows.alphabet()) continue;
    return Lost(absl::StrCat("a channel's shift is ", static_cast<int>(shift),
                             ": expected less than ", rows.alphabet()));
  }
  for (size_t i = 0; i < symbols.size(); ++i) {
    table_of[i] = static_cast<uint8_t>(segment[i % num_channels * kChannelBytes] - 1);
  }
  RETURN_IF_ERROR(RansDecode(segment.subspan(num_channels * kChannelBytes), table_of, rows.tables(),
                             RansLanesFor(symbols.size()), symbols));
  const auto mask = static_cast<uint8_t>(rows.alphabet() - 1);
  for (size_t i = 0; i < symbols.size(); ++i) {
    const uint8_t shift = segment[i % num_channels * kChannelBytes + 1];
    symbols[i] = static_cast<uint8_t>((symbols[i] + shift) & mask);
  }
  return absl::OkStatus();
}

absl::Status DecodeSegment(const SymbolRows& rows, ByteSpan segment, Buffers& buffers,
                           MutableByteSpan codes) {
  if (segment.empty()) return Lost("a segment is empty: expected the number of a table");
  const uint8_t number = segment.front();
  const ByteSpan rest = segment.subspan(1);
  if (number == kStoredSegment) return DecodeStored(rest, codes);
  const auto symbols = std::span(buffers.symbols).first(rows.NumSymbols(codes.size()));
  if (number == kByChannelSegment) {
    RETURN_IF_ERROR(
        DecodeByChannel(rows, rest, symbols, std::span(buffers.table_of).first(symbols.size())));
  } else {
    RETURN_IF_ERROR(CheckTable(number));
    RETURN_IF_ERROR(
        RansDecode(rest, rows.tables()[number - 1], RansLanesFor(symbols.size()), symbols));
  }
  rows.Pack(symbols, codes);
  return absl::OkStatus();
}

absl::Status DecodeRans(const CodeSource& source, ByteSpan coded, MutableByteSpan codes) {
  const SymbolRows rows(source);
  const auto buffers = std::make_unique<Buffers>();
  const size_t segment_bytes = SegmentCodesBytes(source);
  while (codes.size() > segment_bytes) {
    if (coded.size() < kSegmentLengthBytes) return Lost("ends before the length of a segment");
    uint32_t length = 0;
    for (size_t i = 0; i < kSegmentLengthBytes; ++i) length |= uint32_t{coded[i]} << 8 * i;
    coded = coded.subspan(kSegmentLengthBytes);
    if (length > coded.size()) {
      return Lost(
          absl::StrCat("a segment of ", length, " bytes where ", coded.size(), " are left"));
    }
    RETURN_IF_ERROR(DecodeSegment(rows, coded.first(length), *buffers, codes.first(segment_bytes)));
    coded = coded.subspan(length);
    codes = codes.subspan(segment_bytes);
  }
  return DecodeSegment(rows, coded, *buffers, codes);
}

struct ContextDeleter {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};

// Without the content's size, which the reader knows.
std::vector<uint8_t> EncodeZstd(ByteSpan codes) {
  const std::unique_ptr<ZSTD_CCtx, ContextDeleter> context(ZSTD_createCCtx());
  std::vector<uint8_t> coded(1 + ZSTD_compressBound(codes.size()), kCompressed);
  if (context != nullptr) {
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, kZstdLevel);
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_contentSizeFlag, 0);
    const size_t made = ZSTD_compress2(context.get(), coded.data() + 1, coded.size() - 1,
                                       codes.data(), codes.size());
    if (!ZSTD_isError(made) && made < codes.size()) {
      coded.resize(1 + made);
      return coded;
    }
  }
  coded.front() = kStoredSegment;
  std::ranges::copy(codes, coded.begin() + 1);
  coded.resize(1 + codes.size());
  return coded;
}

absl::Status DecodeZstd(ByteSpan coded, MutableByteSpan codes) {
  if (coded.empty()) return Lost("is empty");
  const uint8_t form = coded.front();
  const ByteSpan content = coded.subspan(1);
  if (form == kStoredSegment) return DecodeStored(content, codes);
  if (form != kCompressed) {
    return Lost(absl::StrCat("begins with ", static_cast<int>(form), ": expected 0 or 1"));
  }
  const size_t bytes = ZSTD_decompress(codes.data(), codes.size(), content.data(), content.size());
  if (ZSTD_isError(bytes)) return Lost(absl::StrCat("zstd: ", ZSTD_getErrorName(bytes)));
  if (bytes == codes.size()) return absl::OkStatus();
  return Lost(absl::StrCat("zstd gives ", bytes, " bytes: expected ", codes.size()));
}

}  // namespace

bool CanCode(Entropy entropy, Scheme scheme) {
  return entropy != Entropy::kRans || CodeFormOf(scheme) != CodeForm::kNone;
}

size_t MaxCodedBytes(Entropy entropy, const CodeSource& source, size_t codes_bytes) {
  switch (entropy) {
    case Entropy::kNone:
      return codes_bytes;
    case Entropy::kRans:
      return codes_bytes + codes_bytes / SegmentCodesBytes(source) * (kSegmentLengthBytes + 1) + 1;
    case Entropy::kZstd:
      return codes_bytes + 1;
  }
  return codes_bytes;
}

std::vector<uint8_t> EncodeCodes(Entropy entropy, const CodeSource& source, ByteSpan codes) {
  switch (entropy) {
    case Entropy::kNone:
      break;
    case Entropy::kRans:
      return EncodeRans(source, codes);
    case Entropy::kZstd:
      return EncodeZstd(codes);
  }
  return {codes.begin(), codes.end()};
}

absl::Status DecodeCodes(Entropy entropy, const CodeSource& source, ByteSpan coded,
                         MutableByteSpan codes) {
  switch (entropy) {
    case Entropy::kNone:
      break;
    case Entropy::kRans:
      return DecodeRans(source, coded, codes);
    case Entropy::kZstd:
      return DecodeZstd(coded, codes);
  }
  return DecodeStored(coded, codes);
}

}  // namespace qc2c
