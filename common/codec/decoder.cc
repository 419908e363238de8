#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/cache_check.h"
#include "common/codec/codec.h"
#include "common/codec/device_codec.h"
#include "common/codec/frame_layout.h"
#include "common/codec/scheme_registry.h"

namespace qc2c {
namespace {

absl::Status CheckTarget(const KvFrame& frame, const KvCacheView& out) {
  if (out.layout != frame.layout) {
    return absl::InvalidArgumentError(absl::StrCat("the target's layout is ", out.layout.ToString(),
                                                   ": expected the frame's ",
                                                   frame.layout.ToString()));
  }
  if (out.num_tokens != static_cast<int64_t>(frame.positions.size())) {
    return absl::InvalidArgumentError(absl::StrCat("the target has ", out.num_tokens,
                                                   " tokens: expected the frame's ",
                                                   frame.positions.size(), " sent tokens"));
  }
  return CheckCache(out, frame.layers.Tensors());
}

void DecodeOnCpu(const KvFrame& frame, const KvCacheView& out) {
  std::vector<uint32_t> rows_of_out(frame.positions.size());
  std::iota(rows_of_out.begin(), rows_of_out.end(), 0);
  for (const KvBlock& block : frame.blocks) {
    const BlockRows rows = {.plane = out.Plane(block.layer, block.half),
                            .dtype = out.dtype,
                            .num_heads = out.layout.num_kv_heads,
                            .head_dim = out.layout.head_dim,
                            .positions = rows_of_out};
    const CodecSpec own = frame.codec.Of(block.layer, block.half);
    FindScheme(own.scheme)
        ->DecodeBlock(frame.Codes(block), frame.Scales(block), own.scaling(), rows);
  }
}

}  // namespace

absl::Status DecodeCache(const KvFrame& frame, const KvCacheView& out) {
  RETURN_IF_ERROR(CheckFrame(frame));
  RETURN_IF_ERROR(CheckTarget(frame, out));
  if (out.device == DeviceType::kCuda) return DecodeOnCuda(frame, out);
  DecodeOnCpu(frame, out);
  return absl::OkStatus();
}

}  // namespace qc2c
