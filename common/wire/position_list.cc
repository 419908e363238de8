#include "common/wire/position_list.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/selection.h"

namespace qc2c {
namespace {

// The positions that need no bytes, or nothing if they depend on the cache's values.
std::optional<std::vector<uint32_t>> Implied(const CodecSpec& codec, uint32_t num_tokens,
                                             uint32_t num_kept) {
  if (NeedsScores(codec.selection) && num_kept < num_tokens) return std::nullopt;
  return FixedPositions(codec, num_tokens, num_kept);
}

using Positions = std::span<const uint32_t>;

absl::Status CheckAscending(uint32_t num_tokens, Positions positions) {
  for (size_t i = 0; i < positions.size(); ++i) {
    if (positions[i] >= num_tokens) {
      return absl::InvalidArgumentError(absl::StrCat(
          "positions[", i, "] is ", positions[i], ": expected less than num_tokens ", num_tokens));
    }
    if (i > 0 && positions[i] <= positions[i - 1]) {
      return absl::InvalidArgumentError(absl::StrCat("positions[", i, "] is ", positions[i],
                                                     ": expected more than the one before, ",
                                                     positions[i - 1]));
    }
  }
  return absl::OkStatus();
}

size_t BitmapBytes(uint32_t num_tokens) { return (num_tokens + 7) / 8; }

void AppendBitmap(uint32_t num_tokens, Positions positions, std::string& bitmaps) {
  const size_t begin = bitmaps.size();
  bitmaps.resize(begin + BitmapBytes(num_tokens));
  for (const uint32_t position : positions) {
    char& byte = bitmaps[begin + position / 8];
    byte = static_cast<char>(byte | 1 << position % 8);
  }
}

void AppendDeltas(Positions positions, std::string& deltas) {
  uint32_t next = 0;
  for (const uint32_t position : positions) {
    uint32_t delta = position - next;
    for (; delta >= 0x80; delta >>= 7) deltas.push_back(static_cast<char>(delta | 0x80));
    deltas.push_back(static_cast<char>(delta));
    next = position + 1;
  }
}

// Both readers take one set off `indices` and stop at num_kept positions; the comparison in
// DecodePositions refuses what they skip.
void ReadBitmap(ByteSpan& indices, uint32_t num_tokens, uint32_t num_kept,
                std::vector<uint32_t>& positions) {
  const ByteSpan bitmap = indices.first(std::min(indices.size(), BitmapBytes(num_tokens)));
  indices = indices.subspan(bitmap.size());
  const size_t num_bits = std::min<size_t>(bitmap.size() * 8, num_tokens);
  uint32_t found = 0;
  for (uint32_t i = 0; i < num_bits && found < num_kept; ++i) {
    if ((bitmap[i / 8] >> (i % 8) & 1) == 0) continue;
    positions.push_back(i);
    ++found;
  }
}

void ReadDeltas(ByteSpan& indices, uint32_t num_tokens, uint32_t num_kept,
                std::vector<uint32_t>& positions) {
  uint64_t position = 0;
  size_t i = 0;
  for (uint32_t found = 0; i < indices.size() && found < num_kept; ++found) {
    uint64_t delta = 0;
    for (int shift = 0; shift < 35 && i < indices.size(); shift += 7) {
      delta |= static_cast<uint64_t>(indices[i] & 0x7f) << shift;
      if (indices[i++] < 0x80) break;
    }
    position += delta;
    if (position >= num_tokens) break;
    positions.push_back(static_cast<uint32_t>(position++));
  }
  indices = indices.subspan(i);
}

}  // namespace

absl::StatusOr<CodedPositions> CodePositions(const CodecSpec& codec, uint32_t num_tokens,
                                             const std::vector<uint32_t>& positions,
                                             size_t num_sets) {
  if (positions.empty() || positions.size() % num_sets != 0) {
    return absl::InvalidArgumentError(absl::StrCat("positions has ", positions.size(),
                                                   " entries: expected at least one of each of ",
                                                   num_sets, " index sets"));
  }
  const size_t num_kept = positions.size() / num_sets;
  const auto implied = Implied(codec, num_tokens, static_cast<uint32_t>(num_kept));
  CodedPositions bitmaps{v1::INDEX_CODING_BITMAP, {}};
  CodedPositions deltas{v1::INDEX_CODING_DELTAS, {}};
  for (size_t first = 0; first < positions.size(); first += num_kept) {
    const Positions set = Positions(positions).subspan(first, num_kept);
    RETURN_IF_ERROR(CheckAscending(num_tokens, set));
    if (!implied) {
      AppendBitmap(num_tokens, set, bitmaps.indices);
      AppendDeltas(set, deltas.indices);
    } else if (!std::ranges::equal(*implied, set)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "positions begin with ", set.front(), " and end with ", set.back(),
          ": expected those of selection ", std::string(SelectionName(codec.selection)), ", ",
          implied->front(), " to ", implied->back()));
    }
  }
  if (implied) return CodedPositions{};
  CodedPositions& coded = deltas.indices.size() < bitmaps.indices.size() ? deltas : bitmaps;
  if (coded.indices.size() > kMaxIndexBytes) {
    return absl::InvalidArgumentError(absl::StrCat("positions of ", num_sets, " index sets take ",
                                                   coded.indices.size(),
                                                   " bytes: expected at most ", kMaxIndexBytes));
  }
  return std::move(coded);
}

absl::StatusOr<std::vector<uint32_t>> DecodePositions(const CodecSpec& codec, uint32_t num_tokens,
                                                      uint32_t num_kept, v1::IndexCoding coding,
                                                      ByteSpan indices, size_t num_sets) {
  std::vector<uint32_t> positions;
  positions.reserve(num_sets * num_kept);
  const auto implied = Implied(codec, num_tokens, num_kept);
  ByteSpan rest = indices;
  for (size_t set = 0; set < num_sets; ++set) {
    const size_t before = positions.size();
    if (implied) {
      positions.insert(positions.end(), implied->begin(), implied->end());
    } else if (coding == v1::INDEX_CODING_DELTAS) {
      ReadDeltas(rest, num_tokens, num_kept, positions);
    } else {
      ReadBitmap(rest, num_tokens, num_kept, positions);
    }
    if (positions.size() - before == num_kept) continue;
    return absl::InvalidArgumentError(absl::StrCat("header.indices: ", positions.size() - before,
                                                   " positions below ", num_tokens,
                                                   " found: expected num_kept ", num_kept));
  }
  // There is one spelling of a position list; writing it again finds trailing bytes, set bits
  // beyond the last token, long varints and the longer coding alike.
  ASSIGN_OR_RETURN(const CodedPositions canonical,
                   CodePositions(codec, num_tokens, positions, num_sets));
  const bool same = indices.size() == canonical.indices.size() &&
                    std::equal(indices.begin(), indices.end(), AsBytes(canonical.indices).begin());
  if (coding != canonical.coding || !same) {
    return absl::InvalidArgumentError(absl::StrCat(
        "header.indices: ", indices.size(), " bytes of coding ", static_cast<int>(coding),
        ": expected the only valid bytes for these ", positions.size(), " positions, ",
        canonical.indices.size(), " of coding ", static_cast<int>(canonical.coding)));
  }
  return positions;
}

}  // namespace qc2c
