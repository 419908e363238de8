// From the frames that a batch got to the caches that its fusers, or its prefill, go on from.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <vector>

#include "receiver/answer_batch.h"

namespace qc2c {
namespace {

void AddDecodeTime(CacheShare& share, Clock::time_point start) {
  v1::StageTimes& times = *share.got.mutable_times();
  times.set_decode_cache_us(times.decode_cache_us() + MicrosecondsSince(start));
}

}  // namespace

std::optional<SharerCache> AnswerBatch::GatherCaches(const ConnectedSharer& sharer) {
  std::vector<CacheShare*> shares;  // a row each
  int64_t num_slots = 0;
  for (AnswerState* question : rows_) {
    const auto share = std::ranges::find_if(question->shares, [&](const CacheShare& one) {
      return &one.sharer == &sharer && one.source != CacheShare::Source::kNone;
    });
    shares.push_back(share == question->shares.end() ? nullptr : &*share);
    if (shares.back() != nullptr) num_slots = std::max(num_slots, question->num_fused_tokens());
  }
  if (num_slots == 0) return std::nullopt;
  SharerCacheBuilder builder(sharer.fuser()->config().sharer, sharer.fused_layers(),
                             static_cast<int64_t>(rows_.size()), num_slots,
                             parts_.language_model.model.options());
  PlaceCaches(shares, builder);
  return builder.Build();
}

void AnswerBatch::PlaceCaches(const std::vector<CacheShare*>& shares, SharerCacheBuilder& builder) {
  DecodeCalibrated(shares, builder);
  for (size_t row = 0; row < rows_.size(); ++row) {
    if (shares[row] == nullptr) continue;
    PlaceCache(*rows_[row], *shares[row], static_cast<int64_t>(row), builder);
  }
}

void AnswerBatch::DecodeCalibrated(const std::vector<CacheShare*>& shares,
                                   const SharerCacheBuilder& builder) {
  std::vector<CacheShare*> calibrated;
  for (CacheShare* share : shares) {
    if (share != nullptr && share->frame && share->frame->codec.klt) calibrated.push_back(share);
  }
  const auto decode = [&](CacheShare& share) {
    const Clock::time_point start = Clock::now();
    share.decoded = builder.Decode(*share.frame, share.context());
    AddDecodeTime(share, start);
  };
  at::parallel_for(0, static_cast<int64_t>(calibrated.size()), /*grain_size=*/1,
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) decode(*calibrated[i]);
                   });
}

void AnswerBatch::PlaceCache(AnswerState& question, CacheShare& share, int64_t row,
                             SharerCacheBuilder& builder) {
  const Clock::time_point start = Clock::now();
  const std::vector<int32_t>& slots = share.reading.slots;
  absl::Status status;
  if (share.source == CacheShare::Source::kZeros) {
    builder.SetZeroRow(row, slots);
  } else if (share.decoded) {
    status = share.decoded->status();
    if (status.ok()) status = builder.PlaceRow(row, *share.frame, **share.decoded, slots);
    share.decoded.reset();
  } else if (share.frame) {
    status = builder.SetRow(row, *share.frame, slots, share.context());
  }
  AddDecodeTime(share, start);
  if (!status.ok()) {
    share.source = CacheShare::Source::kNone;
    GoesOnWithout(question, share.sharer.Named(status));
  }
  parts_.metrics.ObserveStage(Stage::kDecodeCache, share.got.times().decode_cache_us());
}

}  // namespace qc2c
