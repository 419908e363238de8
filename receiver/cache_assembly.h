// From received messages to the tensors that the fuser reads.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/codec/codec.h"
#include "common/fuser/fuser.h"
#include "common/wire/frame_codec.h"
#include "receiver/sharer_link.h"

namespace qc2c {

// What `fuser` reads of the sharer's cache: the tensors behind an open gate. Empty if no gate is
// open.
KvLayerSet LayersRead(const Fuser& fuser);

// A frame that was proved right, and its bytes.
struct ReceivedFrame {
  KvFrame frame;
  WireBytes bytes;
};

// Reads the messages against what was asked for. `bytes` of the messages that were read are added
// to `counted` even when the frame is refused.
absl::StatusOr<ReceivedFrame> ReadFrame(const SharedMessages& shared,
                                        const FrameExpectation& expectation, WireBytes& counted);

// The sharer's side of one batch, filled row by row.
class SharerCacheBuilder {
 public:
  // Nothing is selected yet. `num_slots` is the longest row's fused tokens; the tensors live on
  // `options.device` in `options.dtype`.
  SharerCacheBuilder(const KvLayout& sharer, const KvLayerSet& layers, int64_t batch_size,
                     int64_t num_slots, const ModelOptions& options);

  // Decodes `frame` into row `row`: slot i of a tensor gets the frame's token slots[i] if that was
  // sent of its layer, and stays unselected otherwise (-1: it takes none); every slot of a tensor
  // that was not sent stays unselected. Several slots may take one token. `context` is the sharer's
  // for this cache. Errors as DecodeCache; DATA_LOSS if a value is not finite,
  // FAILED_PRECONDITION if no slot gets any.
  absl::Status SetRow(int64_t row, const KvFrame& frame, const std::vector<int32_t>& slots,
                      const CodecContext& context = {});
  // The two halves of SetRow. The first is thread-safe: the frame's tokens, [tensors, kept tokens,
  // H, D], zeros for a tensor that was not sent; of klt on the CPU.
  absl::StatusOr<at::Tensor> Decode(const KvFrame& frame, const CodecContext& context) const;
  absl::Status PlaceRow(int64_t row, const KvFrame& frame, const at::Tensor& decoded,
                        const std::vector<int32_t>& slots);
  // Zeros at every slot that takes a token: what remains of a gain then is not communication.
  void SetZeroRow(int64_t row, const std::vector<int32_t>& slots);

  SharerCache Build() const;

 private:
  size_t EndOfSet(const KvFrame& frame, size_t begin) const;
  // Those of the tensors [begin, end) that were sent, all with the same tokens; whether any slot
  // takes one.
  bool FillSlots(int64_t row, const KvFrame& frame, const std::vector<int32_t>& slots,
                 const at::Tensor& decoded, size_t begin, size_t end);

  KvLayout layout_;
  std::vector<KvTensorId> tensors_;
  at::Tensor data_;      // [tensors, B, T, H, D], token-major as the frame's blocks are
  at::Tensor selected_;  // [tensors, B, T] bool, on the CPU
};

// The tokens [begin, end) of a row.
struct TokenRange {
  int64_t begin = 0;
  int64_t end = 0;

  int64_t size() const { return end - begin; }
};

// Those tokens of each row from the first slot on: T becomes that of the longest.
SharerCache TokensOf(const SharerCache& cache, const std::vector<TokenRange>& rows);

// The slots of a cache from `begin` on.
KvCache SlotsFrom(const KvCache& cache, int64_t begin);

// `cache` with the keys and values of its slots from `begin` on replaced by those of `slots`.
void ReplaceSlotsFrom(int64_t begin, const KvCache& slots, KvCache& cache);

// Whether row `row` differs between the two caches in any layer.
bool RowChanged(const KvCache& before, const KvCache& after, int64_t row);

}  // namespace qc2c
