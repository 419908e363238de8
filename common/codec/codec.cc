#include "common/codec/codec.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/scheme_registry.h"

namespace qc2c {
namespace {

constexpr Axis kAxes[] = {Axis::kPerToken, Axis::kPerHead, Axis::kPerLayer};
constexpr ScaleType kScaleTypes[] = {ScaleType::kFp16, ScaleType::kBf16, ScaleType::kFp32};
constexpr Selection kSelections[] = {Selection::kAll, Selection::kFront, Selection::kBack,
                                     Selection::kKeyNorm, Selection::kValueNorm};

absl::Status Unexpected(std::string_view key, std::string_view value, std::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat("codec: ", std::string(key), " is '",
                                                 std::string(value), "': expected ",
                                                 std::string(expected)));
}

// Sets `field` to the one of `choices` that is called `value`.
template <typename T, size_t kCount>
absl::Status ParseName(std::string_view key, std::string_view value, const T (&choices)[kCount],
                       std::string_view (*name)(T), T& field) {
  std::string names;
  for (const T choice : choices) {
    if (name(choice) == value) {
      field = choice;
      return absl::OkStatus();
    }
    absl::StrAppend(&names, names.empty() ? "" : ", ", std::string(name(choice)));
  }
  return Unexpected(key, value, names);
}

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
  return names;
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
  RETURN_IF_ERROR(ParseNumber(key, value, "a whole number of at least 1", tokens));
  keep = tokens;
  return absl::OkStatus();
}

absl::Status ParseItem(std::string_view key, std::string_view value, CodecSpec& spec) {
  if (key == "axis") return ParseName(key, value, kAxes, AxisName, spec.axis);
  if (key == "scale") return ParseName(key, value, kScaleTypes, ScaleTypeName, spec.scale_type);
  if (key == "select") return ParseName(key, value, kSelections, SelectionName, spec.selection);
  if (key == "keep_ratio" || key == "keep_tokens") return ParseKeep(key, value, spec.keep);
  return absl::InvalidArgumentError(
      absl::StrCat("codec: unknown key '", std::string(key),
                   "': expected axis, scale, select, keep_ratio or keep_tokens"));
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
  if (std::ranges::find(kAxes, spec.axis) == std::end(kAxes)) {
    return Unexpected("axis", AxisName(spec.axis), "per_token, per_head, per_layer");
  }
  if (std::ranges::find(kScaleTypes, spec.scale_type) == std::end(kScaleTypes)) {
    return Unexpected("scale", ScaleTypeName(spec.scale_type), "fp16, bf16, fp32");
  }
  return absl::OkStatus();
}

absl::Status ValidateKeep(const CodecSpec& spec) {
  if (std::ranges::find(kSelections, spec.selection) == std::end(kSelections)) {
    return Unexpected("select", SelectionName(spec.selection),
                      "all, front, back, key_norm, value_norm");
  }
  const bool selects = spec.selection != Selection::kAll;
  if (selects != spec.keep.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("codec: select is ", std::string(SelectionName(spec.selection)),
                     selects ? ", which needs keep_ratio or keep_tokens"
                             : ", which takes no keep_ratio or keep_tokens"));
  }
  if (!selects) return absl::OkStatus();
  if (const float* ratio = std::get_if<float>(&*spec.keep)) {
    if (*ratio > 0.0f && *ratio <= 1.0f) return absl::OkStatus();
    return Unexpected("keep_ratio", absl::StrCat(*ratio), "a number in (0, 1]");
  }
  if (std::get<uint32_t>(*spec.keep) >= 1) return absl::OkStatus();
  return Unexpected("keep_tokens", "0", "a whole number of at least 1");
}

}  // namespace

std::string_view SchemeName(Scheme scheme) {
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
  }
  return "unknown";
}

absl::StatusOr<CodecSpec> CodecSpec::Parse(std::string_view text) {
  const std::vector<std::string_view> items = SplitItems(text);
  const std::string_view name = items.front();
  const SchemeCoder* const coder = FindScheme(name);
  if (coder == nullptr) return Unexpected("scheme", name, SchemeNames());
  CodecSpec spec;
  spec.scheme = coder->scheme();
  if (!coder->has_scales()) {
    spec.axis = Axis::kNone;
    spec.scale_type = ScaleType::kNone;
  }
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
    RETURN_IF_ERROR(ParseItem(key, item.substr(equals + 1), spec));
  }
  RETURN_IF_ERROR(spec.Validate());
  return spec;
}

std::string CodecSpec::ToString() const {
  const CodecSpec defaults;
  std::string text(SchemeName(scheme));
  if (axis != Axis::kNone && axis != defaults.axis) {
    absl::StrAppend(&text, ",axis=", std::string(AxisName(axis)));
  }
  if (scale_type != ScaleType::kNone && scale_type != defaults.scale_type) {
    absl::StrAppend(&text, ",scale=", std::string(ScaleTypeName(scale_type)));
  }
  if (selection == Selection::kAll || !keep.has_value()) return text;
  absl::StrAppend(&text, ",select=", std::string(SelectionName(selection)));
  if (const uint32_t* tokens = std::get_if<uint32_t>(&*keep)) {
    absl::StrAppend(&text, ",keep_tokens=", *tokens);
    return text;
  }
  char digits[32];  // the shortest digits that read back as the same float
  const auto end = std::to_chars(digits, digits + sizeof(digits), std::get<float>(*keep)).ptr;
  absl::StrAppend(&text, ",keep_ratio=", std::string(digits, end));
  return text;
}

absl::Status CodecSpec::Validate() const {
  const SchemeCoder* const coder = FindScheme(scheme);
  if (coder == nullptr) {
    return Unexpected("scheme", absl::StrCat(static_cast<int>(scheme)), SchemeNames());
  }
  RETURN_IF_ERROR(ValidateScale(*this, *coder));
  return ValidateKeep(*this);
}

uint32_t CodecSpec::NumKept(uint32_t num_tokens) const {
  if (!keep.has_value()) return num_tokens;
  if (const uint32_t* tokens = std::get_if<uint32_t>(&*keep)) return std::min(*tokens, num_tokens);
  // The product in fp32: 0.7 of 5 is 3.5 there, as one expects, but 3.4999999 in fp64.
  const float share = std::get<float>(*keep) * static_cast<float>(num_tokens);
  const auto rounded = static_cast<uint32_t>(std::floor(static_cast<double>(share) + 0.5));
  return std::clamp<uint32_t>(rounded, 1, std::max<uint32_t>(num_tokens, 1));
}

}  // namespace qc2c
