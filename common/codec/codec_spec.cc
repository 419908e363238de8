#include "common/codec/codec_spec.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/entropy.h"
#include "common/codec/klt_spec.h"
#include "common/codec/scheme_registry.h"
#include "common/codec/selection.h"
#include "common/codec/spec_text.h"

namespace qc2c {
namespace {

constexpr uint32_t kGroupSizes[] = {8, 16, 32, 64};

template <typename T>
absl::Status ParseNumber(std::string_view key, std::string_view value, std::string_view expected,
                         T& number) {
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error == std::errc() && end == value.data() + value.size()) return absl::OkStatus();
  return Unexpected(key, value, expected);
}

std::string SchemeNames() {
  std::string names;
  for (const RegisteredScheme& known : AllSchemes()) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", std::string(known.coder->name()));
  }
  return absl::StrCat(names, ", ", std::string(SchemeName(Scheme::kKlt)));
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

constexpr const char* kAtLeastOne = "a whole number of at least 1";

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

absl::Status ValidateScale(const CodecSpec& spec, const SchemeCoder& coder) {
  const bool has_axis = spec.axis != Axis::kNone;
  const bool has_type = spec.scale_type != ScaleType::kNone;
  if (!coder.has_scales()) {
    if (!has_axis && !has_type) return absl::OkStatus();
    return Unexpected(has_axis ? "axis" : "scale",
                      has_axis ? AxisName(spec.axis) : ScaleTypeName(spec.scale_type),
                      absl::StrCat("none, as ", std::string(coder.name()), " has no scales"));
  }
  if (std::ranges::find(kAllAxes, spec.axis) == std::end(kAllAxes)) {
    return Unexpected("axis", AxisName(spec.axis), NamesOf(kAllAxes, AxisName));
  }
  if (std::ranges::find(kAllScaleTypes, spec.scale_type) == std::end(kAllScaleTypes)) {
    return Unexpected("scale", ScaleTypeName(spec.scale_type),
                      NamesOf(kAllScaleTypes, ScaleTypeName));
  }
  if (spec.scale_type != ScaleType::kTwoLevel) return absl::OkStatus();
  if (spec.axis != Axis::kGroup) {
    return Unexpected(
        "scale", ScaleTypeName(spec.scale_type),
        absl::StrCat("fp16, bf16 or fp32, as axis is ", std::string(AxisName(spec.axis))));
  }
  if (spec.treatment.zero_point == ZeroPoint::kNone) return absl::OkStatus();
  return Unexpected("zero_point", ZeroPointName(spec.treatment.zero_point),
                    "none, as scale is two_level");
}

// Refuses the value of a key that belongs to another choice of `owner`.
absl::Status OnlyWith(std::string_view key, uint32_t value, std::string_view owner,
                      std::string_view choice) {
  if (value == 0) return absl::OkStatus();
  return Unexpected(key, absl::StrCat(value),
                    absl::StrCat("none, as ", std::string(owner), " is ", std::string(choice)));
}

absl::Status ValidateGroup(const CodecSpec& spec) {
  if (!HasGroups(spec.axis)) {
    return OnlyWith("group", spec.group_size, "axis", AxisName(spec.axis));
  }
  if (std::ranges::find(kGroupSizes, spec.group_size) != std::end(kGroupSizes)) {
    return absl::OkStatus();
  }
  return Unexpected("group", absl::StrCat(spec.group_size), "8, 16, 32 or 64");
}

// A budget decides by itself what a request may otherwise say.
absl::Status ValidateBudget(const CodecSpec& spec) {
  const auto refuse = [](const char* key) {
    return absl::InvalidArgumentError(
        absl::StrCat("codec: budget_bytes and ", key, " exclude each other"));
  };
  // The allocator reads the cache alone.
  if (HasGivenScores(spec.selection)) {
    return absl::InvalidArgumentError(
        absl::StrCat("codec: budget_bytes and select=", std::string(SelectionName(spec.selection)),
                     " exclude each other"));
  }
  if (spec.treatment != TreatmentSpec()) {
    return refuse("rotation, mean, hadamard and zero_point");
  }
  // What coding saves is not known before the precisions are chosen.
  if (spec.entropy != Entropy::kNone) return refuse("entropy");
  return spec.schedule.empty() ? absl::OkStatus() : refuse("keys and values");
}

absl::Status ValidateKeep(const CodecSpec& spec) {
  if (spec.budget_bytes != 0) {
    RETURN_IF_ERROR(ValidateBudget(spec));
    // A budget finds out how many tokens; a number is the most that it may take.
    if (!spec.keep.has_value() && spec.keep_tokens_min == 0) return absl::OkStatus();
  } else if (spec.weights != 0) {
    return Unexpected("weights", absl::StrCat(absl::Hex(spec.weights, absl::kZeroPad16)),
                      "none without budget_bytes");
  }
  const bool selects = spec.selection != Selection::kAll;
  if (selects != spec.keep.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("codec: select is ", std::string(SelectionName(spec.selection)),
                     selects ? ", which needs keep_ratio or keep_tokens"
                             : ", which takes no keep_ratio or keep_tokens"));
  }
  const float* const ratio = selects ? std::get_if<float>(&*spec.keep) : nullptr;
  if (ratio == nullptr && spec.keep_tokens_min != 0) {
    return Unexpected("keep_tokens_min", absl::StrCat(spec.keep_tokens_min),
                      "none without keep_ratio");
  }
  if (!selects) return absl::OkStatus();
  if (ratio != nullptr) {
    if (*ratio > 0.0f && *ratio <= 1.0f) return absl::OkStatus();
    return Unexpected("keep_ratio", absl::StrCat(*ratio), "a number in (0, 1]");
  }
  if (std::get<uint32_t>(*spec.keep) >= 1) return absl::OkStatus();
  return Unexpected("keep_tokens", "0", kAtLeastOne);
}

absl::Status ValidateAttention(const CodecSpec& spec) {
  if (spec.selection != Selection::kAttention) {
    const std::string_view name = SelectionName(spec.selection);
    RETURN_IF_ERROR(OnlyWith("window", spec.window, "select", name));
    return OnlyWith("pool", spec.pool, "select", name);
  }
  if (spec.window < 1 || spec.window > CodecSpec::kMaxWindow) {
    return Unexpected("window", absl::StrCat(spec.window),
                      absl::StrCat("1 to ", CodecSpec::kMaxWindow));
  }
  if (spec.pool % 2 == 1 && spec.pool <= CodecSpec::kMaxPool) return absl::OkStatus();
  return Unexpected("pool", absl::StrCat(spec.pool),
                    absl::StrCat("an odd number of 1 to ", CodecSpec::kMaxPool));
}

absl::Status ValidateSelection(const CodecSpec& spec) {
  const std::string_view name = SelectionName(spec.selection);
  if (std::ranges::find(kAllSelections, spec.selection) == std::end(kAllSelections)) {
    return Unexpected("select", name, NamesOf(kAllSelections, SelectionName));
  }
  if (spec.selection != Selection::kSinks) {
    RETURN_IF_ERROR(OnlyWith("sinks", spec.sinks, "select", name));
  } else if (spec.sinks == 0) {
    return Unexpected("sinks", "0", kAtLeastOne);
  }
  RETURN_IF_ERROR(ValidateAttention(spec));
  if (spec.selection == Selection::kRandom) return absl::OkStatus();
  return OnlyWith("seed", spec.seed, "select", name);
}

// Where no scores decide, every layer would have the same tokens; and the allocator of a budget
// counts tokens of all layers.
absl::Status ValidateIndexSets(const CodecSpec& spec) {
  if (spec.index_sets == IndexSets::kOne) return absl::OkStatus();
  if (spec.index_sets != IndexSets::kPerLayer) {
    return Unexpected("indices", IndexSetsName(spec.index_sets),
                      NamesOf(kAllIndexSets, IndexSetsName));
  }
  if (spec.budget_bytes != 0) {
    return absl::InvalidArgumentError("codec: budget_bytes and indices exclude each other");
  }
  if (NeedsScores(spec.selection)) return absl::OkStatus();
  return Unexpected("indices", "per_layer",
                    absl::StrCat("one, as select is ", std::string(SelectionName(spec.selection)),
                                 ", which keeps the same tokens in every layer"));
}

absl::Status ValidateEntropy(const CodecSpec& spec) {
  if (std::ranges::find(kAllEntropies, spec.entropy) == std::end(kAllEntropies)) {
    return Unexpected("entropy", EntropyName(spec.entropy), NamesOf(kAllEntropies, EntropyName));
  }
  if (CanCode(spec.entropy, spec.scheme)) return absl::OkStatus();
  return Unexpected("entropy", EntropyName(spec.entropy),
                    absl::StrCat("none or zstd, as ", std::string(SchemeName(spec.scheme)),
                                 " has no codes with a table"));
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

// Each precision of the schedule by itself, then the lists.
absl::Status ValidateSchedule(const CodecSpec& spec) {
  for (const Precision& precision : spec.schedule.precisions) {
    // A treatment passes by what has no scales.
    CodecSpec own = spec.With(precision);
    own.treatment = {};
    const absl::Status status = own.Validate();
    if (status.ok()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(status.message(), " (in a precision of keys or values)"));
  }
  return spec.schedule.Validate(spec.precision());
}

}  // namespace

absl::StatusOr<CodecSpec> CodecSpec::Parse(std::string_view text) {
  const std::vector<std::string_view> items = SplitItems(text);
  const std::string_view name = items.front();
  const SchemeCoder* const coder = FindScheme(name);
  if (name == SchemeName(Scheme::kKlt)) return ParseKlt(std::span(items).subspan(1));
  if (coder == nullptr) return Unexpected("scheme", name, SchemeNames());
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

absl::Status CodecSpec::Validate() const {
  if (scheme == Scheme::kKlt || klt) return ValidateKlt(*this);
  const SchemeCoder* const coder = FindScheme(scheme);
  if (coder == nullptr) {
    return Unexpected("scheme", absl::StrCat(static_cast<int>(scheme)), SchemeNames());
  }
  RETURN_IF_ERROR(ValidateScale(*this, *coder));
  RETURN_IF_ERROR(ValidateGroup(*this));
  RETURN_IF_ERROR(ValidateEntropy(*this));
  RETURN_IF_ERROR(ValidateTreatment(treatment, *coder));
  RETURN_IF_ERROR(ValidateSelection(*this));
  RETURN_IF_ERROR(ValidateIndexSets(*this));
  RETURN_IF_ERROR(ValidateKeep(*this));
  return ValidateSchedule(*this);
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
