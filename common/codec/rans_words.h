// The words of a stream from its end to its beginning, for a warp: each lane that wants one gets
// one, in the order of lanes. A template over the warp, so that a test runs it without a GPU.
#pragma once

#include <cstdint>

#include "common/codec/rans_segment.h"

namespace qc2c {

// The lanes keep 64 words each time that memory is read, and the 64 after them, so that the next
// are on their way while these are used.
template <typename Warp>
class RansWords {
 public:
  template <typename T>
  using PerLane = typename Warp::template PerLane<T>;

  // Of `num_bytes`: if that is odd, the last byte is a word by itself.
  QC2C_DEVICE RansWords(const Warp& warp, const uint8_t* stream, uint32_t num_bytes)
      : warp_(warp), stream_(stream), num_bytes_(num_bytes), num_words_((num_bytes + 1) / 2) {
    Load(0, now_);
    Load(kWindow, next_);
  }

  QC2C_DEVICE uint32_t left() const { return num_words_ - taken_; }

  // REQUIRES: `takers` has at most left() bits, one a lane. Words of other lanes are arbitrary.
  QC2C_DEVICE void Take(uint32_t takers, PerLane<uint32_t>& words) {
    PerLane<uint32_t> place, source, early, late;
    warp_.ForEachLane([&](uint32_t lane) {
      place[lane] = taken_ - window_ + warp_.Count(takers & ((1u << lane) - 1));
      source[lane] = place[lane] / 2 % Warp::kLanes;
    });
    warp_.Shuffle(now_, source, early);
    warp_.Shuffle(next_, source, late);
    warp_.ForEachLane([&](uint32_t lane) {
      const uint32_t pair = place[lane] < kWindow ? early[lane] : late[lane];
      words[lane] = place[lane] % 2 == 0 ? pair >> 16 : pair & 0xffff;
    });
    taken_ += warp_.Count(takers);
    if (taken_ - window_ < kWindow) return;
    window_ += kWindow;
    now_ = next_;
    Load(window_ + kWindow, next_);
  }

 private:
  static constexpr uint32_t kWindow = 2 * Warp::kLanes;

  // The word that is taken after `before` others; 0 beyond the stream's beginning.
  QC2C_DEVICE uint32_t Word(uint32_t before) const {
    if (before >= num_words_) return 0;
    const uint32_t low = 2 * (num_words_ - 1 - before);
    const uint32_t high = low + 1 < num_bytes_ ? stream_[low + 1] : 0;
    return high << 8 | stream_[low];
  }

  QC2C_DEVICE void Load(uint32_t first, PerLane<uint32_t>& pairs) const {
    warp_.ForEachLane([&](uint32_t lane) {
      const uint32_t before = first + 2 * lane;
      pairs[lane] = Word(before) << 16 | Word(before + 1);
    });
  }

  const Warp& warp_;
  const uint8_t* const stream_;
  const uint32_t num_bytes_;
  const uint32_t num_words_;
  uint32_t taken_ = 0;
  uint32_t window_ = 0;  // the first word of now_
  PerLane<uint32_t> now_;
  PerLane<uint32_t> next_;
};

}  // namespace qc2c
