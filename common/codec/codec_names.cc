#include "common/codec/codec_spec.h"
#include "common/codec/scheme_registry.h"

namespace qc2c {

std::string_view SchemeName(Scheme scheme) {
  if (scheme == Scheme::kKlt) return "klt";
  const SchemeCoder* const coder = FindScheme(scheme);
  return coder == nullptr ? "unknown" : coder->name();
}

std::string_view AxisName(Axis axis) {
  switch (axis) {
    case Axis::kNone:
      return "none";
    case Axis::kPerToken:
      return "per_token";
    case Axis::kPerHead:
      return "per_head";
    case Axis::kPerLayer:
      return "per_layer";
    case Axis::kPerChannel:
      return "per_channel";
    case Axis::kGroup:
      return "group";
    case Axis::kGroupTokens:
      return "group_tokens";
  }
  return "unknown";
}

std::string_view ScaleTypeName(ScaleType type) {
  switch (type) {
    case ScaleType::kNone:
      return "none";
    case ScaleType::kFp16:
      return "fp16";
    case ScaleType::kBf16:
      return "bf16";
    case ScaleType::kFp32:
      return "fp32";
    case ScaleType::kTwoLevel:
      return "two_level";
  }
  return "unknown";
}

std::string_view SelectionName(Selection selection) {
  switch (selection) {
    case Selection::kAll:
      return "all";
    case Selection::kFront:
      return "front";
    case Selection::kBack:
      return "back";
    case Selection::kKeyNorm:
      return "key_norm";
    case Selection::kValueNorm:
      return "value_norm";
    case Selection::kStrided:
      return "strided";
    case Selection::kRandom:
      return "random";
    case Selection::kSinks:
      return "sinks";
    case Selection::kAttention:
      return "attention";
    case Selection::kProjectedNorm:
      return "projected_norm";
    case Selection::kResidualNorm:
      return "residual_norm";
  }
  return "unknown";
}

std::string_view IndexSetsName(IndexSets sets) {
  switch (sets) {
    case IndexSets::kOne:
      return "one";
    case IndexSets::kPerLayer:
      return "per_layer";
  }
  return "unknown";
}

std::string_view EntropyName(Entropy entropy) {
  switch (entropy) {
    case Entropy::kNone:
      return "none";
    case Entropy::kRans:
      return "rans";
    case Entropy::kZstd:
      return "zstd";
  }
  return "unknown";
}

}  // namespace qc2c
