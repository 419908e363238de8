#include "common/codec/precision_schedule.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/codec_spec.h"
#include "common/codec/scheme_registry.h"

namespace qc2c {
namespace {

constexpr std::string_view kNone = "none";

std::string_view ListName(Half half) { return half == Half::kKey ? "keys" : "values"; }

absl::Status BadItem(Half half, std::string_view item, std::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat("codec: ", std::string(ListName(half)), " has '",
                                                 std::string(item), "': expected ",
                                                 std::string(expected)));
}

// Takes what comes before `separator`, or all.
std::string_view TakeUntil(std::string_view& text, char separator) {
  const size_t at = text.find(separator);
  const std::string_view taken = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
  return taken;
}

bool ReadNumber(std::string_view text, uint32_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

// Sets axis and group size, or the scale's type, from one part of a precision's text.
bool ReadScalePart(std::string_view part, Precision& precision) {
  for (const ScaleType type : kAllScaleTypes) {
    if (part == ScaleTypeName(type)) {
      precision.scale_type = type;
      return true;
    }
  }
  precision.group_size = 0;
  for (const Axis axis : kAllAxes) {
    const std::string_view name = AxisName(axis);
    const bool is_name = part == name;
    if (!is_name && !HasGroups(axis)) continue;
    if (!part.starts_with(name)) continue;
    precision.axis = axis;
    if (is_name) precision.group_size = HasGroups(axis) ? CodecSpec::kDefaultGroupSize : 0;
    if (is_name || ReadNumber(part.substr(name.size()), precision.group_size)) return true;
  }
  return false;
}

// What a precision has where its text says nothing.
Precision Defaults(const Precision& own, const SchemeCoder& coder) {
  Precision precision = own.axis == Axis::kNone ? Precision() : own;
  precision.scheme = coder.scheme();
  if (!coder.has_scales()) precision = {coder.scheme(), Axis::kNone, ScaleType::kNone, 0};
  return precision;
}

absl::StatusOr<TensorPrecision> ReadPrecision(Half half, std::string_view text,
                                              const Precision& own) {
  if (text == kNone) return TensorPrecision();
  std::string_view rest = text;
  const SchemeCoder* const coder = FindScheme(TakeUntil(rest, ':'));
  if (coder == nullptr) return BadItem(half, text, "SCHEME[:AXIS][:SCALE] or none");
  Precision precision = Defaults(own, *coder);
  while (!rest.empty()) {
    const std::string_view part = TakeUntil(rest, ':');
    if (!coder->has_scales() || !ReadScalePart(part, precision)) {
      return BadItem(half, text,
                     coder->has_scales() ? "an axis, groupG or a scale type after ':'"
                                         : "nothing after a scheme without scales");
    }
  }
  return TensorPrecision(precision);
}

std::string PrecisionText(const Precision& own, const Precision& precision) {
  const SchemeCoder* const coder = FindScheme(precision.scheme);
  std::string text(SchemeName(precision.scheme));
  if (coder == nullptr || !coder->has_scales()) return text;
  const Precision defaults = Defaults(own, *coder);
  if (precision.axis != defaults.axis || precision.group_size != defaults.group_size) {
    absl::StrAppend(&text, ":", std::string(AxisName(precision.axis)));
    if (HasGroups(precision.axis)) absl::StrAppend(&text, precision.group_size);
  }
  if (precision.scale_type != defaults.scale_type) {
    absl::StrAppend(&text, ":", std::string(ScaleTypeName(precision.scale_type)));
  }
  return text;
}

struct LayerRun {
  uint32_t first = 0;
  uint32_t last = 0;
};

// "3" or "0-7".
bool ReadRun(std::string_view text, LayerRun& run) {
  std::string_view rest = text;
  if (!ReadNumber(TakeUntil(rest, '-'), run.first)) return false;
  run.last = run.first;
  if (text.find('-') != std::string_view::npos && !ReadNumber(rest, run.last)) return false;
  return run.first <= run.last && run.last < static_cast<uint32_t>(KvLayout::kMaxLayers);
}

absl::StatusOr<std::vector<TensorPrecision>> ReadList(Half half, std::string_view text,
                                                      const Precision& own) {
  std::vector<TensorPrecision> by_layer;
  std::vector<bool> given;
  std::vector<LayerRun> waiting;  // for the next precision
  const std::string_view whole = text;
  while (!text.empty()) {
    std::string_view item = TakeUntil(text, '+');
    const std::string_view all = item;
    LayerRun run;
    if (!ReadRun(TakeUntil(item, ':'), run)) {
      return BadItem(half, all, "LAYERS:PRECISION, LAYERS being 3 or 0-7 with layers below 1024");
    }
    waiting.push_back(run);
    if (item.empty()) continue;
    ASSIGN_OR_RETURN(const TensorPrecision precision, ReadPrecision(half, item, own));
    for (const LayerRun& layers : waiting) {
      const size_t size = std::max<size_t>(by_layer.size(), layers.last + 1);
      by_layer.resize(size, own);
      given.resize(size, false);
      for (uint32_t layer = layers.first; layer <= layers.last; ++layer) {
        if (given[layer]) return BadItem(half, all, absl::StrCat("layer ", layer, " once"));
        given[layer] = true;
        by_layer[layer] = precision;
      }
    }
    waiting.clear();
  }
  if (!waiting.empty()) return BadItem(half, whole, "a precision after the last layers");
  return by_layer;
}

std::vector<TensorPrecision> ByLayer(const PrecisionSchedule& schedule, const Precision& own,
                                     Half half) {
  std::vector<TensorPrecision> by_layer;
  for (size_t i = 0; i < schedule.Of(half).size(); ++i) {
    const auto layer = static_cast<int32_t>(i);
    by_layer.push_back(schedule.Sends(layer, half)
                           ? TensorPrecision(schedule.PrecisionOf(own, layer, half))
                           : TensorPrecision());
  }
  return by_layer;
}

}  // namespace

PrecisionSchedule PrecisionSchedule::Make(const Precision& own,
                                          const std::vector<TensorPrecision>& keys,
                                          const std::vector<TensorPrecision>& values) {
  PrecisionSchedule schedule;
  const auto add = [&](const std::vector<TensorPrecision>& by_layer, std::vector<uint8_t>& list) {
    for (const TensorPrecision& precision : by_layer) {
      uint8_t entry = kOwn;
      if (!precision.has_value()) {
        entry = kNotSent;
      } else if (*precision != own) {
        const auto known = std::ranges::find(schedule.precisions, *precision);
        entry = static_cast<uint8_t>(kFirst + (known - schedule.precisions.begin()));
        if (known == schedule.precisions.end()) schedule.precisions.push_back(*precision);
      }
      list.push_back(entry);
    }
    while (!list.empty() && list.back() == kOwn) list.pop_back();
  };
  add(keys, schedule.keys);
  add(values, schedule.values);
  return schedule;
}

absl::StatusOr<PrecisionSchedule> PrecisionSchedule::Parse(const Precision& own,
                                                           std::string_view keys,
                                                           std::string_view values) {
  ASSIGN_OR_RETURN(const std::vector<TensorPrecision> of_keys, ReadList(Half::kKey, keys, own));
  ASSIGN_OR_RETURN(const std::vector<TensorPrecision> of_values,
                   ReadList(Half::kValue, values, own));
  return Make(own, of_keys, of_values);
}

std::string PrecisionSchedule::Text(const Precision& own, Half half) const {
  const std::vector<uint8_t>& list = Of(half);
  std::string text;
  for (size_t first = 0, end = 0; first < list.size(); first = end) {
    while (end < list.size() && list[end] == list[first]) ++end;
    if (list[first] == kOwn) continue;
    absl::StrAppend(&text, text.empty() ? "" : "+", first);
    if (end - first > 1) absl::StrAppend(&text, "-", end - 1);
    absl::StrAppend(&text, ":",
                    list[first] == kNotSent ? std::string(kNone)
                                            : PrecisionText(own, precisions[list[first] - kFirst]));
  }
  return text;
}

Precision PrecisionSchedule::PrecisionOf(const Precision& own, int32_t layer, Half half) const {
  const uint8_t entry = Entry(layer, half);
  return entry == kOwn ? own : precisions[entry - kFirst];
}

absl::Status PrecisionSchedule::Validate(const Precision& own) const {
  for (const Half half : {Half::kKey, Half::kValue}) {
    const std::vector<uint8_t>& list = Of(half);
    const std::string name(ListName(half));
    if (list.size() > static_cast<size_t>(KvLayout::kMaxLayers)) {
      return absl::InvalidArgumentError(absl::StrCat("codec: ", name, " has ", list.size(),
                                                     " layers: expected at most ",
                                                     KvLayout::kMaxLayers));
    }
    for (size_t i = 0; i < list.size(); ++i) {
      if (list[i] < kFirst + precisions.size()) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "codec: ", name, "[", i, "] is ", static_cast<int>(list[i]), ": expected less than ",
          kFirst + precisions.size(), ", as there are ", precisions.size(), " precisions"));
    }
  }
  if (precisions.size() > kMaxPrecisions) {
    return absl::InvalidArgumentError(absl::StrCat("codec: precisions has ", precisions.size(),
                                                   " entries: expected at most ", kMaxPrecisions));
  }
  if (Make(own, ByLayer(*this, own, Half::kKey), ByLayer(*this, own, Half::kValue)) != *this) {
    return absl::InvalidArgumentError(
        "codec: precisions, keys or values: expected distinct precisions other than the codec's "
        "own, in the order of their first use, and lists that end with another than the codec's "
        "own");
  }
  return absl::OkStatus();
}

absl::Status PrecisionSchedule::CheckLayers(const KvLayout& layout) const {
  for (const Half half : {Half::kKey, Half::kValue}) {
    if (Of(half).size() <= static_cast<size_t>(layout.num_layers)) continue;
    return absl::InvalidArgumentError(absl::StrCat("codec: ", std::string(ListName(half)),
                                                   " names layer ", Of(half).size() - 1,
                                                   ": expected 0 to ", layout.num_layers - 1));
  }
  return absl::OkStatus();
}

absl::StatusOr<KvLayerSet> PrecisionSchedule::SentOf(const KvLayerSet& asked) const {
  KvLayerSet sent;
  for (const int32_t layer : asked.keys) {
    if (Sends(layer, Half::kKey)) sent.keys.push_back(layer);
  }
  for (const int32_t layer : asked.values) {
    if (Sends(layer, Half::kValue)) sent.values.push_back(layer);
  }
  if (sent.NumTensors() > 0) return sent;
  return absl::InvalidArgumentError(
      "codec: keys and values send none of the tensors that are asked for: expected at least one");
}

}  // namespace qc2c
