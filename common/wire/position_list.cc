#include "common/wire/position_list.h"

#include <algorithm>
#include <optional>

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

absl::Status CheckAscending(uint32_t num_tokens, const std::vector<uint32_t>& positions) {
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

std::string Bitmap(uint32_t num_tokens, const std::vector<uint32_t>& positions) {
  std::string bitmap((num_tokens + 7) / 8, '\0');
  for (const uint32_t position : positions) {
    bitmap[position / 8] = static_cast<char>(bitmap[position / 8] | 1 << position % 8);
  }
  return bitmap;
}

std::string Deltas(const std::vector<uint32_t>& positions) {
  std::string deltas;
  uint32_t next = 0;
  for (const uint32_t position : positions) {
    uint32_t delta = position - next;
    for (; delta >= 0x80; delta >>= 7) deltas.push_back(static_cast<char>(delta | 0x80));
    deltas.push_back(static_cast<char>(delta));
    next = position + 1;
  }
  return deltas;
}

// Both readers stop at num_kept positions; the comparison in DecodePositions refuses what they
// skip.
std::vector<uint32_t> ReadBitmap(ByteSpan bitmap, uint32_t num_tokens, uint32_t num_kept) {
  std::vector<uint32_t> positions;
  positions.reserve(num_kept);
  const size_t num_bits = std::min<size_t>(bitmap.size() * 8, num_tokens);
  for (uint32_t i = 0; i < num_bits && positions.size() < num_kept; ++i) {
    if (bitmap[i / 8] >> (i % 8) & 1) positions.push_back(i);
  }
  return positions;
}

std::vector<uint32_t> ReadDeltas(ByteSpan deltas, uint32_t num_tokens, uint32_t num_kept) {
  std::vector<uint32_t> positions;
  positions.reserve(num_kept);
  uint64_t position = 0;
  size_t i = 0;
  while (i < deltas.size() && positions.size() < num_kept) {
    uint64_t delta = 0;
    for (int shift = 0; shift < 35 && i < deltas.size(); shift += 7) {
      delta |= static_cast<uint64_t>(deltas[i] & 0x7f) << shift;
      if (deltas[i++] < 0x80) break;
    }
    position += delta;
    if (position >= num_tokens) break;
    positions.push_back(static_cast<uint32_t>(position++));
  }
  return positions;
}

}  // namespace

absl::StatusOr<CodedPositions> CodePositions(const CodecSpec& codec, uint32_t num_tokens,
                                             const std::vector<uint32_t>& positions) {
  if (positions.empty()) {
    return absl::InvalidArgumentError("positions are empty: expected at least one");
  }
  RETURN_IF_ERROR(CheckAscending(num_tokens, positions));
  const auto num_kept = static_cast<uint32_t>(positions.size());
  if (const auto implied = Implied(codec, num_tokens, num_kept); implied.has_value()) {
    if (*implied == positions) return CodedPositions{};
    return absl::InvalidArgumentError(
        absl::StrCat("positions begin with ", positions.front(), " and end with ", positions.back(),
                     ": expected those of selection ", std::string(SelectionName(codec.selection)),
                     ", ", implied->front(), " to ", implied->back()));
  }
  CodedPositions bitmap{v1::INDEX_CODING_BITMAP, Bitmap(num_tokens, positions)};
  CodedPositions deltas{v1::INDEX_CODING_DELTAS, Deltas(positions)};
  return deltas.indices.size() < bitmap.indices.size() ? deltas : bitmap;
}

absl::StatusOr<std::vector<uint32_t>> DecodePositions(const CodecSpec& codec, uint32_t num_tokens,
                                                      uint32_t num_kept, v1::IndexCoding coding,
                                                      ByteSpan indices) {
  std::vector<uint32_t> positions;
  if (auto implied = Implied(codec, num_tokens, num_kept); implied.has_value()) {
    positions = *std::move(implied);
  } else if (coding == v1::INDEX_CODING_DELTAS) {
    positions = ReadDeltas(indices, num_tokens, num_kept);
  } else {
    positions = ReadBitmap(indices, num_tokens, num_kept);
  }
  if (positions.size() != num_kept) {
    return absl::InvalidArgumentError(absl::StrCat("header.indices: ", positions.size(),
                                                   " positions below ", num_tokens,
                                                   " found: expected num_kept ", num_kept));
  }
  // There is one spelling of a position list; writing it again finds trailing bytes, set bits
  // beyond the last token, long varints and the longer coding alike.
  ASSIGN_OR_RETURN(const CodedPositions canonical, CodePositions(codec, num_tokens, positions));
  const bool same = indices.size() == canonical.indices.size() &&
                    std::equal(indices.begin(), indices.end(), AsBytes(canonical.indices).begin());
  if (coding != canonical.coding || !same) {
    return absl::InvalidArgumentError(absl::StrCat(
        "header.indices: ", indices.size(), " bytes of coding ", static_cast<int>(coding),
        ": expected the only valid bytes for these ", num_kept, " positions, ",
        canonical.indices.size(), " of coding ", static_cast<int>(canonical.coding)));
  }
  return positions;
}

}  // namespace qc2c
