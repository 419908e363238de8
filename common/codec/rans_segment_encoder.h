// Encodes one segment on a warp: the bytes that EncodeCodes makes (entropy.h). A template over the
// warp, as rans_segment_decoder.h.
#pragma once

#include <cstdint>

#include "common/codec/rans_packer.h"
#include "common/codec/rans_segment.h"
#include "common/codec/rans_table_choice.h"

namespace qc2c {

template <typename Warp>
class RansSegmentEncoder {
 public:
  template <typename T>
  using PerLane = typename Warp::template PerLane<T>;
  using Choice = RansTableChoice<Warp>;

  // `scratch`: Choice::kScratch numbers that the warp shares. REQUIRES: `codes` are num_symbols in
  // whole rows, 1 to kMaxSegmentSymbols, whole tokens if there are enough for tables by channel.
  QC2C_DEVICE RansSegmentEncoder(const Warp& warp, const RansKind& kind, const uint8_t* codes,
                                 uint32_t codes_bytes, uint32_t num_symbols, uint32_t* scratch)
      : warp_(warp),
        kind_(kind),
        codes_bytes_(codes_bytes),
        num_symbols_(num_symbols),
        symbols_(kind, codes),
        scratch_(scratch) {}

  // Writes the segment, unless it is stored, into `slot` of RansSlotBytes, and nothing else.
  QC2C_DEVICE CodedSegment Encode(uint8_t* slot) {
    const CodedSegment stored = {.bytes = 1 + codes_bytes_, .header_bytes = 0};
    if (!symbols_.EndsWithZeros(warp_, codes_bytes_)) return stored;
    const bool may_choose = kind_.MayChooseByChannel(num_symbols_);
    uint8_t* const stream = slot + RansHeaderRoom(kind_.num_channels, may_choose);
    const Choice choice(warp_, kind_, symbols_, num_symbols_, scratch_);
    uint64_t cost_by_channel = ~uint64_t{0};
    if (may_choose) {
      uint8_t* const list = stream - kChannelBytes * kind_.num_channels;
      cost_by_channel = choice.ChooseByChannel(list);
      channels_ = reinterpret_cast<const uint16_t*>(list);
    } else {
      choice.Count();
    }
    const typename Choice::One one = choice.ChooseOne();
    const bool by_channel = cost_by_channel < one.cost;
    warp_.Sync();
    const uint32_t header_bytes = 1 + (by_channel ? kChannelBytes * kind_.num_channels : 0);
    table_ = one.number - 1;
    const uint32_t stream_bytes =
        by_channel ? EncodeStream<true>(stream) : EncodeStream<false>(stream);
    if (header_bytes + stream_bytes > codes_bytes_) return stored;
    warp_.ForEachLane([&](uint32_t lane) {
      if (lane != 0) return;
      *(stream - header_bytes) = static_cast<uint8_t>(by_channel ? kByChannelSegment : one.number);
    });
    return {header_bytes + stream_bytes, header_bytes};
  }

 private:
  // So many steps are read at once, and those before them while they are coded: memory is waited
  // for once in a while.
  static constexpr uint32_t kAtOnce = 8;
  static constexpr uint32_t kNoSymbol = 256;  // above all symbols
  static constexpr uint32_t kNowhere = ~uint32_t{0};
  static constexpr uint64_t kNoPush = 0;  // a frequency is not 0

  struct Pushes {
    uint64_t of[kAtOnce];  // RansTables::pushes of a symbol; kNoPush for none
  };
  struct Places {
    uint32_t of[kAtOnce];  // a symbol's, in the tables; kNowhere for none
  };

  // The length of the stream; what would not be shorter than the codes is not written.
  template <bool kByChannel>
  QC2C_DEVICE uint32_t EncodeStream(uint8_t* stream) {
    num_lanes_ = RansLanesFor(num_symbols_);
    num_words_ = 0;
    uint32_t step = (num_symbols_ + num_lanes_ - 1) / num_lanes_;
    warp_.ForEachLane([&](uint32_t lane) {
      x_[lane] = FirstRansState(num_lanes_);
      channel_[lane] = kByChannel ? ((step - 1) * num_lanes_ + lane) % kind_.num_channels : 0;
    });
    PerLane<Places> next;
    ReadSymbols<kByChannel>(step, next);
    while (step > 0) {
      const uint32_t num_steps = step < kAtOnce ? step : kAtOnce;
      PerLane<Pushes> pushes;
      FindPushes(next, pushes);
      step -= num_steps;
      ReadSymbols<kByChannel>(step, next);
      QC2C_UNROLL
      for (uint32_t k = 0; k < kAtOnce; ++k) Push(pushes, k, stream);
    }
    return Finish(stream);
  }

  // Of the kAtOnce steps before `end`, the last first. Called for one after the other.
  template <bool kByChannel>
  QC2C_DEVICE void ReadSymbols(uint32_t end, PerLane<Places>& places) {
    const uint32_t channel_step = num_lanes_ % kind_.num_channels;
    warp_.ForEachLane([&](uint32_t lane) {
      uint32_t symbols[kAtOnce];
      ReadSymbolsOf(lane, end, symbols);
      QC2C_UNROLL
      for (uint32_t k = 0; k < kAtOnce; ++k) {
        const uint32_t place = PlaceOf<kByChannel>(symbols[k], channel_[lane]);
        places[lane].of[k] = symbols[k] == kNoSymbol ? kNowhere : place;
        if (!kByChannel) continue;
        channel_[lane] += channel_[lane] < channel_step ? kind_.num_channels : 0;
        channel_[lane] -= channel_step;
      }
    });
  }

  // kNoSymbol where the lane has none.
  QC2C_DEVICE void ReadSymbolsOf(uint32_t lane, uint32_t end, uint32_t (&symbols)[kAtOnce]) const {
    if (end >= kAtOnce && end * num_lanes_ <= num_symbols_ && lane < num_lanes_) {
      uint32_t ascending[kAtOnce];
      symbols_.Column((end - kAtOnce) * num_lanes_ + lane, num_lanes_, ascending);
      QC2C_UNROLL
      for (uint32_t k = 0; k < kAtOnce; ++k) symbols[k] = ascending[kAtOnce - 1 - k];
      return;
    }
    QC2C_UNROLL
    for (uint32_t k = 0; k < kAtOnce; ++k) {
      const uint32_t i = (end - 1 - k) * num_lanes_ + lane;
      const bool has_symbol = k < end && lane < num_lanes_ && i < num_symbols_;
      symbols[k] = has_symbol ? symbols_.Symbol(i) : kNoSymbol;
    }
  }

  // Of a symbol of the channel; any number for kNoSymbol.
  template <bool kByChannel>
  QC2C_DEVICE uint32_t PlaceOf(uint32_t symbol, uint32_t channel) const {
    if (!kByChannel) return table_ * kind_.alphabet() + symbol;
    const uint32_t table = (channels_[channel] & 0xffu) - 1;
    const uint32_t shift = channels_[channel] >> 8;
    return table * kind_.alphabet() + ((symbol - shift) & kind_.mask());
  }

  QC2C_DEVICE void FindPushes(PerLane<Places>& places, PerLane<Pushes>& pushes) const {
    warp_.ForEachLane([&](uint32_t lane) {
      QC2C_UNROLL
      for (uint32_t k = 0; k < kAtOnce; ++k) {
        const uint32_t place = places[lane].of[k];
        pushes[lane].of[k] = place == kNowhere ? kNoPush : kind_.tables.pushes[place];
      }
    });
  }

  // One symbol of each lane. The last lane's word comes first, since its symbol does.
  QC2C_DEVICE void Push(PerLane<Pushes>& pushes, uint32_t k, uint8_t* stream) {
    PerLane<bool> emits;
    warp_.ForEachLane([&](uint32_t lane) {
      const uint64_t push = pushes[lane].of[k];
      emits[lane] =
          push != kNoPush && EmitsWord(x_[lane], EntryFrequency(static_cast<uint32_t>(push)));
    });
    const uint32_t emitters = warp_.Ballot(emits);
    warp_.ForEachLane([&](uint32_t lane) {
      const uint64_t push = pushes[lane].of[k];
      if (emits[lane]) {
        const uint32_t word = num_words_ + warp_.Count(emitters & (~1u << lane));
        if (kRansWordBytes * (word + 1) <= codes_bytes_) {
          reinterpret_cast<uint16_t*>(stream)[word] = static_cast<uint16_t>(x_[lane]);
        }
        x_[lane] >>= 16;
      }
      if (push != kNoPush) {
        x_[lane] =
            PushSymbol(x_[lane], static_cast<uint32_t>(push), static_cast<uint32_t>(push >> 32));
      }
    });
    num_words_ += warp_.Count(emitters);
  }

  // Appends the states, without zeros at the end if there is one.
  QC2C_DEVICE uint32_t Finish(uint8_t* stream) {
    const uint32_t end = kRansWordBytes * num_words_ + kRansStateBytes * num_lanes_;
    PerLane<uint64_t> zeros;
    warp_.ForEachLane([&](uint32_t lane) {
      zeros[lane] = 0;
      if (lane >= num_lanes_) return;
      for (uint32_t i = 0; i < kRansStateBytes; ++i) {
        const uint32_t place = kRansWordBytes * num_words_ + kRansStateBytes * lane + i;
        if (place < codes_bytes_) stream[place] = static_cast<uint8_t>(x_[lane] >> 8 * i);
        if (num_lanes_ == 1 && x_[lane] >> 8 * i == 0) ++zeros[lane];
      }
    });
    return end - static_cast<uint32_t>(warp_.Sum(zeros));
  }

  const Warp& warp_;
  const RansKind& kind_;
  const uint32_t codes_bytes_;
  const uint32_t num_symbols_;
  const SymbolReader symbols_;
  uint32_t* const scratch_;
  const uint16_t* channels_ = nullptr;  // [num_channels] table's number, shift in the upper byte
  uint32_t table_ = 0;                  // of a segment with one
  uint32_t num_lanes_ = 0;
  uint32_t num_words_ = 0;     // that have been emitted
  PerLane<uint32_t> x_;        // the lanes' states
  PerLane<uint32_t> channel_;  // of a lane's symbol that is read next
};

}  // namespace qc2c
