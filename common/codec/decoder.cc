#include <algorithm>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/cache_check.h"
#include "common/codec/codec.h"
#include "common/codec/coded_frame.h"
#include "common/codec/device_codec.h"
#include "common/codec/frame_layout.h"
#include "common/codec/klt.h"
#include "common/codec/scheme_registry.h"
#include "common/codec/treatment.h"
#include "common/codec/zero_point.h"

namespace qc2c {
namespace {

absl::Status CheckTarget(const KvFrame& frame, const KvCacheView& out) {
  if (out.layout != frame.layout) {
    return absl::InvalidArgumentError(absl::StrCat("the target's layout is ", out.layout.ToString(),
                                                   ": expected the frame's ",
                                                   frame.layout.ToString()));
  }
  if (out.num_tokens != int64_t{frame.num_kept()}) {
    return absl::InvalidArgumentError(absl::StrCat("the target has ", out.num_tokens,
                                                   " tokens: expected the frame's ",
                                                   frame.num_kept(), " sent tokens"));
  }
  return CheckCache(out, frame.layers.Tensors());
}

void DecodeOnCpu(const KvFrame& frame, const KvCacheView& out, const Treatment& treatment) {
  std::vector<uint32_t> rows_of_out(frame.num_kept());
  std::iota(rows_of_out.begin(), rows_of_out.end(), 0);
  TreatedBlock treated(treatment, frame.layout, frame.num_kept());
  for (const KvBlock& block : frame.blocks) {
    const BlockRows rows = {.plane = out.Plane(block.layer, block.half),
                            .dtype = out.dtype,
                            .num_heads = out.layout.num_kv_heads,
                            .head_dim = out.layout.head_dim,
                            .positions = rows_of_out};
    const CodecSpec own = frame.codec.Of(block.layer, block.half);
    const BlockRows target = treated.Target(rows);
    FindScheme(own.scheme)
        ->DecodeBlock(frame.Codes(block), frame.Scales(block), own.scaling(), target);
    if (own.HasZeroPoints()) AddZeroPoints(own.scaling(), target, frame.ZeroPoints(block));
    treated.Undo({block.layer, block.half}, rows);
  }
}

// The positions of the frame's tokens, sent or not.
std::vector<uint32_t> PositionsOf(const KvFrame& frame, const CodecContext& context) {
  std::vector<uint32_t> positions(context.token_positions.begin(), context.token_positions.end());
  if (!positions.empty()) return positions;
  positions.resize(std::min<size_t>(frame.num_tokens, KvLayout::kMaxTokens));
  std::iota(positions.begin(), positions.end(), 0);
  return positions;
}

}  // namespace

absl::Status DecodeCache(const KvFrame& frame, const KvCacheView& out,
                         const CodecContext& context) {
  if (frame.codec.klt) return DecodeKlt(frame, PositionsOf(frame, context), out);
  RETURN_IF_ERROR(CheckFrame(frame));
  RETURN_IF_ERROR(CheckTarget(frame, out));
  ASSIGN_OR_RETURN(Treatment treatment,
                   Treatment::Create(frame.codec.treatment, frame.layout, frame.positions.size(),
                                     frame.positions, context));
  for (const int32_t layer : frame.layers.Layers()) {
    treatment.UseTokensFrom(layer, frame.FirstPosition(layer));
  }
  if (out.device == DeviceType::kCuda) return DecodeOnCuda(frame, out, treatment);
  if (frame.is_coded()) {
    KvFrame plain = frame;
    RETURN_IF_ERROR(DecodeFrameCodes(plain));
    DecodeOnCpu(plain, out, treatment);
  } else {
    DecodeOnCpu(frame, out, treatment);
  }
  return absl::OkStatus();
}

}  // namespace qc2c
