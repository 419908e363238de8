#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/cache_check.h"
#include "common/codec/codec.h"
#include "common/codec/device_codec.h"
#include "common/codec/fault_status.h"
#include "common/codec/frame_layout.h"
#include "common/codec/scheme_registry.h"
#include "common/codec/selection.h"
#include "common/codec/treatment.h"
#include "common/codec/zero_point.h"

namespace qc2c {
namespace {

absl::StatusOr<KvFrame> EncodeOnCpu(const KvCacheView& cache, const KvLayerSet& layers,
                                    const CodecSpec& codec, const Treatment& treatment,
                                    const TokenScores& scores) {
  KvFrame frame;
  frame.layout = cache.layout;
  frame.codec = codec;
  frame.num_tokens = static_cast<uint32_t>(cache.num_tokens);
  frame.layers = layers;
  ASSIGN_OR_RETURN(frame.positions, SelectTokens(cache, layers, codec, scores));
  RETURN_IF_ERROR(LayOutBlocks(frame));
  const MutableByteSpan data(frame.data);
  TreatedBlock treated(treatment, frame.layout, frame.num_kept());
  for (const KvBlock& block : frame.blocks) {
    const BlockRows rows = {.plane = cache.Plane(block.layer, block.half),
                            .dtype = cache.dtype,
                            .num_heads = cache.layout.num_kv_heads,
                            .head_dim = cache.layout.head_dim,
                            .positions = frame.PositionsOf(block.layer)};
    const CodecSpec own = codec.Of(block.layer, block.half);
    const BlockRows treated_rows = treated.Apply({block.layer, block.half}, rows);
    BlockFaults faults = 0;
    if (own.HasZeroPoints()) {
      faults = TakeZeroPoints(own.scaling(), treated_rows,
                              data.subspan(block.zero_points_offset, block.zero_points_bytes));
    }
    faults |= FindScheme(own.scheme)
                  ->EncodeBlock(treated_rows, own.scaling(),
                                data.subspan(block.codes_offset, block.codes_bytes),
                                data.subspan(block.scales_offset, block.scales_bytes));
    RETURN_IF_ERROR(FaultStatus(faults, {block.layer, block.half}, rows, own));
  }
  return frame;
}

}  // namespace

absl::StatusOr<KvFrame> EncodeCache(const KvCacheView& cache, const KvLayerSet& layers,
                                    const CodecSpec& codec, const CodecContext& context) {
  RETURN_IF_ERROR(codec.Validate());
  if (codec.budget_bytes != 0) {
    return absl::InvalidArgumentError(absl::StrCat("codec: budget_bytes is ", codec.budget_bytes,
                                                   ": expected a codec that resolves it"));
  }
  RETURN_IF_ERROR(layers.Validate(cache.layout));
  RETURN_IF_ERROR(codec.schedule.CheckLayers(cache.layout));
  ASSIGN_OR_RETURN(const KvLayerSet sent, codec.schedule.SentOf(layers));
  RETURN_IF_ERROR(CheckCache(cache, sent.Tensors()));
  if (NeedsScores(codec.selection)) {
    RETURN_IF_ERROR(CheckCache(cache, ScoredTensors(codec, cache.layout, sent)));
  }
  ASSIGN_OR_RETURN(const Treatment treatment,
                   Treatment::Create(codec.treatment, cache.layout, cache.num_tokens,
                                     /*tokens=*/{}, context));
  const TokenScores& scores = context.token_scores;
  if (HasGivenScores(codec.selection) && scores.data == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat("codec: select is ",
                                                      std::string(SelectionName(codec.selection)),
                                                      ", whose scores are not known here"));
  }
  if (cache.device == DeviceType::kCuda) {
    return EncodeOnCuda(cache, sent, codec, treatment, scores, context.chunk_bytes);
  }
  return EncodeOnCpu(cache, sent, codec, treatment, scores);
}

}  // namespace qc2c
