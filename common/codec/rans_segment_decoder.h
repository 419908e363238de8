// Decodes one segment on a warp: the codes that DecodeCodes gives (entropy.h), or a refusal where
// that refuses. A template over the warp, so that a test runs it without a GPU; DeviceWarp
// (warp_cuda.cuh) and HostWarp (host_warp.h) say what a warp must have.
#pragma once

#include <cstdint>

#include "common/codec/rans_packer.h"
#include "common/codec/rans_segment.h"
#include "common/codec/rans_words.h"

namespace qc2c {

template <typename Warp>
class RansSegmentDecoder {
 public:
  template <typename T>
  using PerLane = typename Warp::template PerLane<T>;

  // `ring`: CodePacker::kRingCodes bytes that the warp shares.
  QC2C_DEVICE RansSegmentDecoder(const Warp& warp, const RansKind& kind, uint8_t* ring)
      : warp_(warp), kind_(kind), ring_(ring) {}

  // Whether `coded` is the coding of so many symbols, which then are in `codes`; if not, what is
  // there is arbitrary. Reads and writes nothing else, whatever `coded` holds. REQUIRES:
  // codes_bytes is that of num_symbols, in whole rows, and num_symbols is 1 to kMaxSegmentSymbols.
  QC2C_DEVICE bool Decode(const uint8_t* coded, uint32_t coded_bytes, uint32_t num_symbols,
                          uint8_t* codes, uint32_t codes_bytes) {
    if (coded_bytes == 0) return false;
    const uint32_t number = coded[0];
    const uint8_t* const rest = coded + 1;
    const uint32_t rest_bytes = coded_bytes - 1;
    if (number == kStoredSegment) return CopyStored(rest, rest_bytes, codes, codes_bytes);
    CodePacker<Warp> packer(warp_, kind_, num_symbols, ring_, codes, codes_bytes);
    if (number <= kNumEntropyTables) {
      table_ = number - 1;
      return DecodeStream<false>(rest, rest_bytes, num_symbols, packer);
    }
    if (number != kByChannelSegment || num_symbols % kind_.num_channels != 0 ||
        rest_bytes / kChannelBytes < kind_.num_channels) {
      return false;
    }
    channels_ = rest;
    const uint32_t list_bytes = kChannelBytes * kind_.num_channels;
    return CheckChannels() &&
           DecodeStream<true>(rest + list_bytes, rest_bytes - list_bytes, num_symbols, packer);
  }

 private:
  QC2C_DEVICE bool CopyStored(const uint8_t* stored, uint32_t stored_bytes, uint8_t* codes,
                              uint32_t codes_bytes) const {
    if (stored_bytes != codes_bytes) return false;
    warp_.ForEachLane([&](uint32_t lane) {
      for (uint32_t i = lane; i < codes_bytes; i += Warp::kLanes) codes[i] = stored[i];
    });
    return true;
  }

  QC2C_DEVICE bool CheckChannels() const {
    PerLane<bool> is_wrong;
    warp_.ForEachLane([&](uint32_t lane) {
      is_wrong[lane] = false;
      for (uint32_t channel = lane; channel < kind_.num_channels; channel += Warp::kLanes) {
        const uint32_t number = channels_[kChannelBytes * channel];
        const uint32_t shift = channels_[kChannelBytes * channel + 1];
        if (number < 1 || number > kNumEntropyTables || shift > kind_.mask()) is_wrong[lane] = true;
      }
    });
    return warp_.Ballot(is_wrong) == 0;
  }

  // The states are at the end of the stream; a lane that is alone takes its own from the words.
  QC2C_DEVICE bool ReadStates(const uint8_t* states, uint32_t num_lanes) {
    PerLane<bool> is_low;
    warp_.ForEachLane([&](uint32_t lane) {
      x_[lane] = kRansLow;
      if (lane < num_lanes) {
        const uint8_t* const state = states + kRansStateBytes * lane;
        x_[lane] = state[0] | static_cast<uint32_t>(state[1]) << 8 |
                   static_cast<uint32_t>(state[2]) << 16 | static_cast<uint32_t>(state[3]) << 24;
      }
      is_low[lane] = x_[lane] < kRansLow;
    });
    return warp_.Ballot(is_low) == 0;
  }

  template <bool kByChannel>
  QC2C_DEVICE bool DecodeStream(const uint8_t* stream, uint32_t bytes, uint32_t num_symbols,
                                CodePacker<Warp>& packer) {
    const uint32_t num_lanes = RansLanesFor(num_symbols);
    if (num_lanes == 1) {
      if (bytes > 0 && stream[bytes - 1] == 0) return false;
      RansWords<Warp> words(warp_, stream, bytes);
      warp_.ForEachLane([&](uint32_t lane) { x_[lane] = 0; });
      for (int i = 0; i < 2 && words.left() > 0; ++i) Refill(1, words);
      return DecodeSymbols<kByChannel>(words, num_lanes, num_symbols, packer);
    }
    const uint32_t states_bytes = kRansStateBytes * num_lanes;
    if (bytes < states_bytes || bytes % kRansWordBytes != 0) return false;
    RansWords<Warp> words(warp_, stream, bytes - states_bytes);
    return ReadStates(stream + bytes - states_bytes, num_lanes) &&
           DecodeSymbols<kByChannel>(words, num_lanes, num_symbols, packer);
  }

  QC2C_DEVICE void Refill(uint32_t takers, RansWords<Warp>& words) {
    PerLane<uint32_t> word;
    words.Take(takers, word);
    warp_.ForEachLane([&](uint32_t lane) {
      if ((takers >> lane & 1) != 0) x_[lane] = x_[lane] << 16 | word[lane];
    });
  }

  template <bool kByChannel>
  QC2C_DEVICE bool DecodeSymbols(RansWords<Warp>& words, uint32_t num_lanes, uint32_t num_symbols,
                                 CodePacker<Warp>& packer) {
    // The channel of a lane's next symbol.
    PerLane<uint32_t> channel;
    const uint32_t channel_step = num_lanes % kind_.num_channels;
    warp_.ForEachLane([&](uint32_t lane) { channel[lane] = lane % kind_.num_channels; });
    for (uint32_t first = 0; first < num_symbols; first += num_lanes) {
      const uint32_t num = num_symbols - first < num_lanes ? num_symbols - first : num_lanes;
      PerLane<bool> wants;
      warp_.ForEachLane([&](uint32_t lane) {
        wants[lane] = false;
        if (lane >= num) return;
        packer.Put(first + lane,
                   kByChannel ? PopFromChannel(lane, channel[lane]) : PopFromTable(lane));
        wants[lane] = x_[lane] < kRansLow;
        if (!kByChannel) return;
        channel[lane] += channel_step;
        if (channel[lane] >= kind_.num_channels) channel[lane] -= kind_.num_channels;
      });
      const uint32_t takers = warp_.Ballot(wants);
      if (warp_.Count(takers) <= words.left()) {
        Refill(takers, words);
      } else if (num_lanes > 1) {
        return false;
      }
      packer.Advance(first + num);
    }
    PerLane<bool> is_wrong;
    warp_.ForEachLane([&](uint32_t lane) {
      is_wrong[lane] = lane < num_lanes && x_[lane] != FirstRansState(num_lanes);
    });
    return words.left() == 0 && warp_.Ballot(is_wrong) == 0;
  }

  // Takes a symbol off the lane's state, and gives its code.
  QC2C_DEVICE uint32_t PopFromTable(uint32_t lane) {
    const uint32_t* const entries = kind_.tables.entries + table_ * kind_.alphabet();
    const uint32_t slot = x_[lane] & kRansSlotMask;
    const uint32_t bucket =
        kind_.tables.buckets[table_ * kRansBuckets + (slot >> kRansBucketShift)];
    return Pop(lane, entries, slot, bucket & 0xff, bucket >> 8) ^ kind_.sign;
  }

  QC2C_DEVICE uint32_t PopFromChannel(uint32_t lane, uint32_t channel) {
    const uint32_t table = channels_[kChannelBytes * channel] - 1u;
    const uint32_t shift = channels_[kChannelBytes * channel + 1];
    const uint32_t* const entries = kind_.tables.entries + table * kind_.alphabet();
    const uint32_t symbol = Pop(lane, entries, x_[lane] & kRansSlotMask, 0, kind_.mask());
    return ((symbol + shift) & kind_.mask()) ^ kind_.sign;
  }

  // The symbol is one of low to high.
  QC2C_DEVICE uint32_t Pop(uint32_t lane, const uint32_t* entries, uint32_t slot, uint32_t low,
                           uint32_t high) {
    while (low < high) {
      const uint32_t middle = (low + high + 1) / 2;
      if (EntryStart(entries[middle]) <= slot) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    x_[lane] = PopSymbol(x_[lane], entries[low]);
    return low;
  }

  const Warp& warp_;
  const RansKind& kind_;
  uint8_t* const ring_;
  uint32_t table_ = 0;                 // of a segment with one
  const uint8_t* channels_ = nullptr;  // [num_channels] table's number and shift
  PerLane<uint32_t> x_;                // the lanes' states
};

}  // namespace qc2c
