// Which table, or tables by channel, a segment's symbols are coded under, chosen by a warp: what
// entropy.cc chooses, on integers, so that the bytes are the same.
#pragma once

#include <cstdint>

#include "common/codec/rans_packer.h"
#include "common/codec/rans_segment.h"

namespace qc2c {

// Costs are at most kRansBits a symbol: those of a segment's symbols fit 32 bits.
static_assert(uint64_t{kMaxSegmentSymbols} * (kRansBits << kCostBits) < uint64_t{1} << 32);

template <typename Warp>
class RansTableChoice {
 public:
  template <typename T>
  using PerLane = typename Warp::template PerLane<T>;

  // Narrow symbols are counted by each lane for itself, wide ones by all together.
  static constexpr uint32_t kNarrowSymbols = 1u << kMaxByChannelBits;
  static constexpr uint32_t kMaxSymbols = 256;
  static constexpr uint32_t kCounts = kNarrowSymbols * Warp::kLanes;
  static constexpr uint32_t kScratch = kCounts + kNarrowSymbols;
  static_assert(kMaxSymbols <= kCounts);

  struct One {
    uint32_t number = 0;
    uint32_t cost = 0;
  };

  // `scratch`: kScratch numbers that the warp shares.
  QC2C_DEVICE RansTableChoice(const Warp& warp, const RansKind& kind, const SymbolReader& symbols,
                              uint32_t num_symbols, uint32_t* scratch)
      : warp_(warp),
        kind_(kind),
        symbols_(symbols),
        num_symbols_(num_symbols),
        counts_(scratch),
        totals_(scratch + kCounts) {}

  // Counts all symbols, for ChooseOne.
  QC2C_DEVICE void Count() const {
    ClearTotals();
    ClearCounts();
    warp_.ForEachLane([&](uint32_t lane) {
      CountEvery(lane, Warp::kLanes, [&](uint32_t symbol) {
        if (is_narrow()) {
          ++counts_[symbol * Warp::kLanes + lane];
        } else {
          warp_.Increment(counts_ + symbol);
        }
      });
    });
    warp_.Sync();
    if (is_narrow()) AddLanes();
  }

  // BestEntropyTable of all symbols. REQUIRES: Count or ChooseByChannel was called.
  QC2C_DEVICE One ChooseOne() const {
    const uint32_t* const totals = is_narrow() ? totals_ : counts_;
    PerLane<uint64_t> best;  // the cost, then the number: of equal costs the first
    warp_.ForEachLane([&](uint32_t lane) {
      best[lane] = ~uint64_t{0};
      for (uint32_t table = lane; table < kNumEntropyTables; table += Warp::kLanes) {
        const uint64_t cost = Cost(table, [&](uint32_t symbol) { return totals[symbol]; });
        const uint64_t key = cost << 32 | (table + 1);
        if (key < best[lane]) best[lane] = key;
      }
    });
    const uint64_t least = warp_.Least(best);
    warp_.Sync();
    return {static_cast<uint32_t>(least), static_cast<uint32_t>(least >> 32)};
  }

  // A table and a shift for each channel, into `list` [num_channels, 2]; their costs, the list's
  // own included. Counts all symbols too. REQUIRES: kind.MayChooseByChannel.
  QC2C_DEVICE uint64_t ChooseByChannel(uint8_t* list) const {
    ClearTotals();
    uint64_t cost = uint64_t{8} * kChannelBytes * kind_.num_channels << kCostBits;
    for (uint32_t first = 0; first < kind_.num_channels; first += Warp::kLanes) {
      ClearCounts();
      PerLane<uint64_t> costs;
      warp_.ForEachLane([&](uint32_t lane) {
        costs[lane] = 0;
        const uint32_t channel = first + lane;
        if (channel < kind_.num_channels) costs[lane] = ChooseOf(lane, channel, list);
      });
      cost += warp_.Sum(costs);
      warp_.Sync();
      AddLanes();
    }
    return cost;
  }

 private:
  QC2C_DEVICE bool is_narrow() const { return kind_.alphabet() <= kNarrowSymbols; }

  QC2C_DEVICE void ClearCounts() const {
    warp_.ForEachLane([&](uint32_t lane) {
      for (uint32_t i = lane; i < kCounts; i += Warp::kLanes) counts_[i] = 0;
    });
    warp_.Sync();
  }

  QC2C_DEVICE void ClearTotals() const {
    warp_.ForEachLane([&](uint32_t lane) {
      if (lane < kNarrowSymbols) totals_[lane] = 0;
    });
  }

  // Counts the symbols i, i + step, ...; several are read at once, so that memory is waited for
  // once.
  template <typename CountOne>
  QC2C_DEVICE void CountEvery(uint32_t i, uint32_t step, CountOne count) const {
    constexpr uint32_t kAtOnce = 8;
    for (; i + (kAtOnce - 1) * step < num_symbols_; i += kAtOnce * step) {
      uint32_t some[kAtOnce];
      symbols_.Column(i, step, some);
      QC2C_UNROLL
      for (uint32_t k = 0; k < kAtOnce; ++k) count(some[k]);
    }
    for (; i < num_symbols_; i += step) count(symbols_.Symbol(i));
  }

  // Adds the lanes' counts to the totals; the lanes begin at different places, or they would all
  // want one bank of the memory.
  QC2C_DEVICE void AddLanes() const {
    warp_.ForEachLane([&](uint32_t lane) {
      if (lane >= kNarrowSymbols) return;
      uint32_t total = totals_[lane];
      for (uint32_t k = 0; k < Warp::kLanes; ++k) {
        total += counts_[lane * Warp::kLanes + (k + lane) % Warp::kLanes];
      }
      totals_[lane] = total;
    });
    warp_.Sync();
  }

  template <typename CountOf>
  QC2C_DEVICE uint32_t Cost(uint32_t table, CountOf count_of) const {
    uint32_t cost = 0;
    for (uint32_t symbol = 0; symbol < kind_.alphabet(); ++symbol) {
      cost += count_of(symbol) * kind_.tables.costs[symbol * kNumEntropyTables + table];
    }
    return cost;
  }

  // By one lane, in its own counts.
  QC2C_DEVICE uint64_t ChooseOf(uint32_t lane, uint32_t channel, uint8_t* list) const {
    CountEvery(channel, kind_.num_channels,
               [&](uint32_t symbol) { ++counts_[symbol * Warp::kLanes + lane]; });
    const uint32_t shift = ShiftOf(lane, num_symbols_ / kind_.num_channels);
    uint32_t moved[kNarrowSymbols];
    QC2C_UNROLL
    for (uint32_t s = 0; s < kNarrowSymbols; ++s) {
      moved[s] =
          s <= kind_.mask() ? counts_[((s + shift) & kind_.mask()) * Warp::kLanes + lane] : 0;
    }
    One best = {.number = 0, .cost = ~uint32_t{0}};
    for (uint32_t table = 0; table < kNumEntropyTables; ++table) {
      uint32_t cost = 0;
      QC2C_UNROLL
      for (uint32_t s = 0; s < kNarrowSymbols; ++s) {
        if (s <= kind_.mask()) cost += moved[s] * kind_.tables.costs[s * kNumEntropyTables + table];
      }
      if (cost < best.cost) best = {table + 1, cost};
    }
    list[kChannelBytes * channel] = static_cast<uint8_t>(best.number);
    list[kChannelBytes * channel + 1] = static_cast<uint8_t>(shift);
    return best.cost;
  }

  // Keys have channels with a mean of their own: the middle goes to the channel's median.
  QC2C_DEVICE uint32_t ShiftOf(uint32_t lane, uint32_t num) const {
    uint32_t median = 0;
    for (uint32_t below = counts_[lane]; 2 * below < num;) {
      ++median;
      below += counts_[median * Warp::kLanes + lane];
    }
    return (median - kind_.alphabet() / 2) & kind_.mask();
  }

  const Warp& warp_;
  const RansKind& kind_;
  const SymbolReader symbols_;
  const uint32_t num_symbols_;
  uint32_t* const counts_;  // of narrow symbols, [symbols, lanes]
  uint32_t* const totals_;  // of narrow symbols
};

}  // namespace qc2c
