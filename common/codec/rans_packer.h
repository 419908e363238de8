// Codes of a segment between a row's bits and single numbers, for a warp.
#pragma once

#include <cstdint>

#include "common/codec/rans_segment.h"

namespace qc2c {

// The code at any place of a segment, as a symbol.
class SymbolReader {
 public:
  QC2C_DEVICE SymbolReader(const RansKind& kind, const uint8_t* codes)
      : kind_(kind), codes_(codes) {}

  QC2C_DEVICE uint32_t Symbol(uint32_t i) const {
    const uint8_t* row = codes_;
    uint32_t bit = i * kind_.bits;
    if (!kind_.is_dense()) {
      const uint32_t number = i / kind_.head_dim;
      row += number * kind_.row_bytes;
      bit = (i - number * kind_.head_dim) * kind_.bits;
    }
    uint32_t code = static_cast<uint32_t>(row[bit / 8]) >> bit % 8;
    // Only a code of three bits can begin in one byte and end in the next.
    if (bit % 8 + kind_.bits > 8) code |= static_cast<uint32_t>(row[bit / 8 + 1]) << (8 - bit % 8);
    return (code & kind_.mask()) ^ kind_.sign;
  }

  // The symbols i, i + step, i + 2 step, ... REQUIRES: all are inside.
  template <uint32_t kNum>
  QC2C_DEVICE void Column(uint32_t i, uint32_t step, uint32_t (&symbols)[kNum]) const {
    if (kind_.is_dense() && step * kind_.bits % 8 == 0) {
      // Each begins at the same bit of its byte: most of what Symbol works out is the same for all.
      const uint8_t* const first = codes_ + i * kind_.bits / 8;
      const uint32_t stride = step * kind_.bits / 8;
      const uint32_t shift = i * kind_.bits % 8;
      const bool ends_in_next = shift + kind_.bits > 8;
      QC2C_UNROLL
      for (uint32_t k = 0; k < kNum; ++k) {
        uint32_t code = first[k * stride];
        if (ends_in_next) code |= static_cast<uint32_t>(first[k * stride + 1]) << 8;
        symbols[k] = (code >> shift & kind_.mask()) ^ kind_.sign;
      }
    } else {
      QC2C_UNROLL
      for (uint32_t k = 0; k < kNum; ++k) symbols[k] = Symbol(i + k * step);
    }
  }

  // Whether every row ends with zero bits, so that its symbols are all that it holds.
  template <typename Warp>
  QC2C_DEVICE bool EndsWithZeros(const Warp& warp, uint32_t codes_bytes) const {
    const uint32_t used = kind_.head_dim * kind_.bits % 8;
    if (used == 0) return true;
    typename Warp::template PerLane<bool> has_more;
    warp.ForEachLane([&](uint32_t lane) {
      has_more[lane] = false;
      for (uint32_t row = lane; row < codes_bytes / kind_.row_bytes; row += Warp::kLanes) {
        has_more[lane] = has_more[lane] || codes_[(row + 1) * kind_.row_bytes - 1] >> used != 0;
      }
    });
    return warp.Ballot(has_more) == 0;
  }

 private:
  const RansKind& kind_;
  const uint8_t* const codes_;
};

// Takes the codes of a segment in order and packs them when there are enough of them.
template <typename Warp>
class CodePacker {
 public:
  static constexpr uint32_t kRingCodes = 1024;

  // `ring`: kRingCodes bytes that the warp shares.
  QC2C_DEVICE CodePacker(const Warp& warp, const RansKind& kind, uint32_t num_symbols,
                         uint8_t* ring, uint8_t* codes, uint32_t codes_bytes)
      : warp_(warp),
        bits_(kind.bits),
        row_codes_(kind.is_dense() ? num_symbols : kind.head_dim),
        row_bytes_(kind.is_dense() ? codes_bytes : kind.row_bytes),
        row_units_((row_codes_ + kUnit - 1) / kUnit),
        num_codes_(num_symbols),
        ring_(ring),
        codes_(codes) {}

  // Called by a lane; the i-th code.
  QC2C_DEVICE void Put(uint32_t i, uint32_t code) {
    ring_[i % kRingCodes] = static_cast<uint8_t>(code);
  }

  // Called by the warp after the first `end` have been put, and after no more than kPackAtOnce and
  // a step's more than at the call before.
  QC2C_DEVICE void Advance(uint32_t end) {
    if (end - packed_codes_ < kPackAtOnce && end < num_codes_) return;
    const uint32_t row = end / row_codes_;
    const uint32_t ready = row * row_units_ + (end - row * row_codes_) / kUnit;
    warp_.Sync();
    warp_.ForEachLane([&](uint32_t lane) {
      for (uint32_t unit = packed_units_ + lane; unit < ready; unit += Warp::kLanes) Pack(unit);
    });
    warp_.Sync();
    packed_units_ = ready;
    packed_codes_ = end;
  }

 private:
  static constexpr uint32_t kUnit = 8;  // codes; they take a whole number of bytes
  static constexpr uint32_t kPackAtOnce = 512;
  static_assert(kPackAtOnce + Warp::kLanes + kUnit <= kRingCodes);

  QC2C_DEVICE void Pack(uint32_t unit) const {
    const uint32_t row = row_units_ > unit ? 0 : unit / row_units_;
    const uint32_t in_row = (unit - row * row_units_) * kUnit;
    const uint32_t first = row * row_codes_ + in_row;
    const uint32_t count = row_codes_ - in_row < kUnit ? row_codes_ - in_row : kUnit;
    uint64_t word = 0;
    QC2C_UNROLL
    for (uint32_t k = 0; k < kUnit; ++k) {
      const uint64_t code = k < count ? ring_[(first + k) % kRingCodes] : 0;
      word |= code << bits_ * k;
    }
    Store(word, (count * bits_ + 7) / 8, codes_ + row * row_bytes_ + in_row / kUnit * bits_);
  }

  QC2C_DEVICE static void Store(uint64_t word, uint32_t num_bytes, uint8_t* out) {
    const auto place = reinterpret_cast<uintptr_t>(out);
    if (num_bytes == 8 && place % 8 == 0) {
      *reinterpret_cast<uint64_t*>(out) = word;
    } else if (num_bytes == 4 && place % 4 == 0) {
      *reinterpret_cast<uint32_t*>(out) = static_cast<uint32_t>(word);
    } else {
      for (uint32_t i = 0; i < num_bytes; ++i) out[i] = static_cast<uint8_t>(word >> 8 * i);
    }
  }

  const Warp& warp_;
  const uint32_t bits_;
  const uint32_t row_codes_;  // of what is packed without gaps: a row, or all of them
  const uint32_t row_bytes_;
  const uint32_t row_units_;
  const uint32_t num_codes_;
  uint8_t* const ring_;
  uint8_t* const codes_;
  uint32_t packed_units_ = 0;
  uint32_t packed_codes_ = 0;
};

}  // namespace qc2c
