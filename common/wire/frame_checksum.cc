#include "common/wire/frame_checksum.h"

#include <bit>

namespace qc2c {
namespace {

void AddBytes(Hasher& hasher, ByteSpan bytes) {
  hasher.AddU32(static_cast<uint32_t>(bytes.size())).Add(bytes);
}

void AddLayers(Hasher& hasher, const google::protobuf::RepeatedField<uint32_t>& layers) {
  hasher.AddU32(static_cast<uint32_t>(layers.size()));
  for (const uint32_t layer : layers) hasher.AddU32(layer);
}

void AddSchedule(Hasher& hasher, const v1::Codec& codec) {
  if (codec.precisions().empty() && codec.key_precisions().empty() &&
      codec.value_precisions().empty()) {
    return;
  }
  hasher.AddU32(static_cast<uint32_t>(codec.precisions_size()));
  for (const v1::TensorPrecision& precision : codec.precisions()) {
    hasher.AddU32(precision.scheme()).AddU32(precision.axis());
    hasher.AddU32(precision.scale_type()).AddU32(precision.group_size());
  }
  AddLayers(hasher, codec.key_precisions());
  AddLayers(hasher, codec.value_precisions());
}

// Fields that frames of the first codecs do not have count only where they are present, each behind
// its number.
void AddPresent(Hasher& hasher, uint32_t number, uint32_t value) {
  if (value != 0) hasher.AddU32(number).AddU32(value);
}

void AddLaterFields(Hasher& hasher, const v1::Codec& codec) {
  AddPresent(hasher, v1::Codec::kRotationFieldNumber, codec.rotation());
  AddPresent(hasher, v1::Codec::kMeanFieldNumber, codec.mean());
  AddPresent(hasher, v1::Codec::kHadamardFieldNumber, codec.hadamard());
  AddPresent(hasher, v1::Codec::kZeroPointFieldNumber, codec.zero_point());
  if (codec.calibration() != 0) {
    hasher.AddU32(v1::Codec::kCalibrationFieldNumber).AddU64(codec.calibration());
  }
  AddPresent(hasher, v1::Codec::kEntropyFieldNumber, codec.entropy());
  AddPresent(hasher, v1::Codec::kIndexSetsFieldNumber, codec.index_sets());
  AddPresent(hasher, v1::Codec::kWindowFieldNumber, codec.window());
  AddPresent(hasher, v1::Codec::kPoolFieldNumber, codec.pool());
}

}  // namespace

void AddHeader(Hasher& hasher, const v1::CacheHeader& header) {
  hasher.AddU32(header.format_version()).AddU64(header.model_fingerprint());
  const v1::KvLayout& layout = header.layout();
  hasher.AddU32(layout.num_layers()).AddU32(layout.num_kv_heads()).AddU32(layout.head_dim());
  const v1::Codec& codec = header.codec();
  hasher.AddU32(codec.scheme()).AddU32(codec.axis()).AddU32(codec.scale_type());
  hasher.AddU32(codec.selection()).AddU32(codec.keep_case());
  switch (codec.keep_case()) {
    case v1::Codec::kKeepRatio:
      hasher.AddU32(std::bit_cast<uint32_t>(codec.keep_ratio()));
      break;
    case v1::Codec::kKeepTokens:
      hasher.AddU32(codec.keep_tokens());
      break;
    case v1::Codec::KEEP_NOT_SET:
      hasher.AddU32(0);
  }
  hasher.AddU32(codec.group_size()).AddU32(codec.keep_tokens_min());
  hasher.AddU32(codec.sinks()).AddU32(codec.seed());
  AddLaterFields(hasher, codec);
  hasher.AddU32(header.num_tokens()).AddU32(header.num_kept()).AddU32(header.index_coding());
  AddBytes(hasher, AsBytes(header.indices()));
  AddLayers(hasher, header.key_layers());
  AddLayers(hasher, header.value_layers());
  AddSchedule(hasher, codec);
}

void AddBlock(Hasher& hasher, uint32_t layer, uint32_t half, uint32_t first_token,
              uint32_t num_tokens, ByteSpan codes, ByteSpan scales) {
  hasher.AddU32(layer).AddU32(half).AddU32(first_token).AddU32(num_tokens);
  AddBytes(hasher, codes);
  AddBytes(hasher, scales);
}

}  // namespace qc2c
