// The text of a codec, both ways.
#include "common/codec/codec_spec.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/klt_spec.h"
#include "common/codec/scheme_registry.h"
#include "common/codec/spec_text.h"

namespace qc2c {
namespace {

template <typename T>
absl::Status ParseNumber(std::string_view key, std::string_view value, std::string_view expected,
                         T& number) {
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error == std::errc() && end == value.data() + value.size()) return absl::OkStatus();
  return Unexpected(key, value, expected);
}

// The items of a comma-separated text; an empty item counts.
std::vector<std::string_view> SplitItems(std::string_view text) {
  std::vector<std::string_view> items;
  for (size_t comma = text.find(','); comma != std::string_view::npos; comma = text.find(',')) {
    items.push_back(text.substr(0, comma));
    text.remove_prefix(comma + 1);
  }
  items.push_back(text);
  return items;
}

absl::Status ParseKeep(std::string_view key, std::string_view value, std::optional<Keep>& keep) {
  if (keep.has_value()) {
    return absl::InvalidArgumentError("codec: keep_ratio and keep_tokens exclude each other");
  }
  if (key == "keep_ratio") {
    float ratio = 0.0f;
    RETURN_IF_ERROR(ParseNumber(key, value, "a number in (0, 1]", ratio));
    keep = ratio;
    return absl::OkStatus();
  }
  uint32_t tokens = 0;
  RETURN_IF_ERROR(ParseNumber(key, value, kAtLeastOne, tokens));
  keep = tokens;
  return absl::OkStatus();
}

// A count whose 0 means that it was not given.
absl::Status ParseCount(std::string_view key, std::string_view value, uint32_t& count) {
  RETURN_IF_ERROR(ParseNumber(key, value, kAtLeastOne, count));
  return count >= 1 ? absl::OkStatus() : Unexpected(key, value, kAtLeastOne);
}

// The texts of a schedule, read when the codec's own precision is known.
struct LayerLists {
  std::string_view keys;
  std::string_view values;
};

absl::Status ParseLayers(std::string_view key, std::string_view value, std::string_view& list) {
  if (value.empty()) return Unexpected(key, value, "LAYERS:PRECISION[+LAYERS:PRECISION]...");
  list = value;
  return absl::OkStatus();
}

absl::Status ParseBudget(std::string_view key, std::string_view value, uint64_t& bytes) {
  RETURN_IF_ERROR(ParseNumber(key, value, kAtLeastOne, bytes));
  return bytes >= 1 ? absl::OkStatus() : Unexpected(key, value, kAtLeastOne);
}

// An id as HashText writes it.
absl::Status ParseWeights(std::string_view key, std::string_view value, uint64_t& id) {
  constexpr const char* kId = "16 hexadecimal digits, not all 0";
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), id, 16);
  const bool is_read = error == std::errc() && end == value.data() + value.size();
  return is_read && value.size() == 16 && id != 0 ? absl::OkStatus() : Unexpected(key, value, kId);
}

absl::Status ParseItem(std::string_view key, std::string_view value, CodecSpec& spec,
                       LayerLists& lists) {
  if (key == "axis") return ParseName(key, value, kAllAxes, AxisName, spec.axis);
  if (key == "group") return ParseCount(key, value, spec.group_size);
  if (key == "scale") return ParseName(key, value, kAllScaleTypes, ScaleTypeName, spec.scale_type);
  if (key == "select") return ParseName(key, value, kAllSelections, SelectionName, spec.selection);
  if (key == "keep_ratio" || key == "keep_tokens") return ParseKeep(key, value, spec.keep);
  if (key == "keep_tokens_min") return ParseCount(key, value, spec.keep_tokens_min);
  if (key == "sinks") return ParseCount(key, value, spec.sinks);
  if (key == "seed") return ParseNumber(key, value, "a whole number below 2^32", spec.seed);
  if (key == "window") return ParseCount(key, value, spec.window);
  if (key == "pool") return ParseCount(key, value, spec.pool);
  if (key == "indices") {
    return ParseName(key, value, kAllIndexSets, IndexSetsName, spec.index_sets);
  }
  if (key == "entropy") return ParseName(key, value, kAllEntropies, EntropyName, spec.entropy);
  if (key == "budget_bytes") return ParseBudget(key, value, spec.budget_bytes);
  if (key == "weights") return ParseWeights(key, value, spec.weights);
  if (key == "keys") return ParseLayers(key, value, lists.keys);
  if (key == "values") return ParseLayers(key, value, lists.values);
  if (IsTreatmentKey(key)) return ParseTreatment(key, value, spec.treatment);
  return absl::InvalidArgumentError(
      absl::StrCat("codec: unknown key '", std::string(key),
                   "': expected axis, group, scale, select, keep_ratio, keep_tokens, "
                   "keep_tokens_min, sinks, seed, window, pool, indices, entropy, keys, values, "
                   "budget_bytes, weights, ",
                   kTreatmentKeys));
}

void AppendSelection(const CodecSpec& spec, std::string& text) {
  const bool has_budget = spec.budget_bytes != 0;
  const bool is_default = !has_budget || spec.selection == Selection::kValueNorm;
  if (!spec.keep.has_value() && is_default) return;
  absl::StrAppend(&text, ",select=", std::string(SelectionName(spec.selection)));
  if (spec.selection == Selection::kSinks && spec.sinks != CodecSpec::kDefaultSinks) {
    absl::StrAppend(&text, ",sinks=", spec.sinks);
  }
  if (spec.seed != 0) absl::StrAppend(&text, ",seed=", spec.seed);
  if (spec.window != 0 && spec.window != CodecSpec::kDefaultWindow) {
    absl::StrAppend(&text, ",window=", spec.window);
  }
  if (spec.pool != 0 && spec.pool != CodecSpec::kDefaultPool) {
    absl::StrAppend(&text, ",pool=", spec.pool);
  }
  if (!spec.keep.has_value()) return;
  if (spec.index_sets != IndexSets::kOne) {
    absl::StrAppend(&text, ",indices=", std::string(IndexSetsName(spec.index_sets)));
  }
  if (const uint32_t* tokens = std::get_if<uint32_t>(&*spec.keep)) {
    absl::StrAppend(&text, ",keep_tokens=", *tokens);
    return;
  }
  char digits[32];  // the shortest digits that read back as the same float
  const auto end = std::to_chars(digits, digits + sizeof(digits), std::get<float>(*spec.keep)).ptr;
  absl::StrAppend(&text, ",keep_ratio=", std::string(digits, end));
  if (spec.keep_tokens_min != 0) absl::StrAppend(&text, ",keep_tokens_min=", spec.keep_tokens_min);
}

}  // namespace

absl::StatusOr<CodecSpec> CodecSpec::Parse(std::string_view text) {
  const std::vector<std::string_view> items = SplitItems(text);
  const std::string_view name = items.front();
  const SchemeCoder* const coder = FindScheme(name);
  if (name == SchemeName(Scheme::kKlt)) return ParseKlt(std::span(items).subspan(1));
  if (coder == nullptr) return Unexpected("scheme", name, SchemeNames(", "));
  CodecSpec spec;
  spec.scheme = coder->scheme();
  if (!coder->has_scales()) {
    spec.axis = Axis::kNone;
    spec.scale_type = ScaleType::kNone;
  }
  LayerLists lists;
  std::vector<std::string_view> seen;
  for (const std::string_view item : std::span(items).subspan(1)) {
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos) return Unexpected("option", item, "key=value");
    const std::string_view key = item.substr(0, equals);
    if (std::ranges::find(seen, key) != seen.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("codec: key '", std::string(key), "' is given twice"));
    }
    seen.push_back(key);
    RETURN_IF_ERROR(ParseItem(key, item.substr(equals + 1), spec, lists));
  }
  if (HasGroups(spec.axis) && spec.group_size == 0) spec.group_size = kDefaultGroupSize;
  if (spec.selection == Selection::kSinks && spec.sinks == 0) spec.sinks = kDefaultSinks;
  if (spec.selection == Selection::kAttention) {
    if (spec.window == 0) spec.window = kDefaultWindow;
    if (spec.pool == 0) spec.pool = kDefaultPool;
  }
  if (spec.budget_bytes != 0 && std::ranges::find(seen, "select") == seen.end()) {
    spec.selection = Selection::kValueNorm;
  }
  ASSIGN_OR_RETURN(spec.schedule,
                   PrecisionSchedule::Parse(spec.precision(), lists.keys, lists.values));
  RETURN_IF_ERROR(spec.Validate());
  return spec;
}

std::string CodecSpec::ToString() const {
  if (klt) return KltToString(*klt);
  const CodecSpec defaults;
  std::string text(SchemeName(scheme));
  if (axis != Axis::kNone && axis != defaults.axis) {
    absl::StrAppend(&text, ",axis=", std::string(AxisName(axis)));
  }
  if (HasGroups(axis) && group_size != kDefaultGroupSize) {
    absl::StrAppend(&text, ",group=", group_size);
  }
  if (scale_type != ScaleType::kNone && scale_type != defaults.scale_type) {
    absl::StrAppend(&text, ",scale=", std::string(ScaleTypeName(scale_type)));
  }
  if (entropy != Entropy::kNone) {
    absl::StrAppend(&text, ",entropy=", std::string(EntropyName(entropy)));
  }
  AppendTreatment(treatment, text);
  AppendSelection(*this, text);
  for (const Half half : {Half::kKey, Half::kValue}) {
    const std::string list = schedule.Text(precision(), half);
    if (list.empty()) continue;
    absl::StrAppend(&text, half == Half::kKey ? ",keys=" : ",values=", list);
  }
  if (budget_bytes != 0) absl::StrAppend(&text, ",budget_bytes=", budget_bytes);
  if (weights != 0) {
    absl::StrAppend(&text, ",weights=", absl::Hex(weights, absl::kZeroPad16));
  }
  return text;
}

CodecSpec CodecSpec::With(const Precision& precision) const {
  CodecSpec codec = *this;
  codec.scheme = precision.scheme;
  codec.axis = precision.axis;
  codec.scale_type = precision.scale_type;
  codec.group_size = precision.group_size;
  codec.schedule = {};
  return codec;
}

CodecSpec CodecSpec::Of(int32_t layer, Half half) const {
  return With(schedule.PrecisionOf(precision(), layer, half));
}

uint32_t CodecSpec::NumKept(uint32_t num_tokens) const {
  if (!keep.has_value()) return num_tokens;
  if (const uint32_t* tokens = std::get_if<uint32_t>(&*keep)) return std::min(*tokens, num_tokens);
  // The product in fp32: 0.7 of 5 is 3.5 there, as one expects, but 3.4999999 in fp64.
  const float share = std::get<float>(*keep) * static_cast<float>(num_tokens);
  const auto rounded = static_cast<uint32_t>(std::floor(static_cast<double>(share) + 0.5));
  const uint32_t kept = std::max({rounded, keep_tokens_min, uint32_t{1}});
  return std::min(kept, std::max<uint32_t>(num_tokens, 1));
}

}  // namespace qc2c
