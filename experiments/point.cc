#include "experiments/point.h"

#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

struct NamedMode {
  const char* name;
  v1::Mode mode;
};
constexpr NamedMode kModes[] = {{"receiver", v1::MODE_RECEIVER},
                                {"sharer", v1::MODE_SHARER},
                                {"fused", v1::MODE_FUSED},
                                {"text", v1::MODE_TEXT},
                                {"text_answer", v1::MODE_TEXT_ANSWER},
                                {"prefix", v1::MODE_PREFIX}};
constexpr char kReceiverContext[] = "receiver_context";
constexpr char kPrefix[] = "prefix_";
constexpr char kWrongQuestion[] = "_wrong_question";
constexpr char kZeroCache[] = "_zero_cache";

bool TakeSuffix(std::string& text, const std::string& suffix) {
  if (text.size() <= suffix.size() || !text.ends_with(suffix)) return false;
  text.resize(text.size() - suffix.size());
  return true;
}

// "int8_back_p050" -> "int8,select=back,keep_ratio=0.5"; nothing if the name is no such thing.
std::optional<std::string> CodecText(const std::string& name) {
  const size_t keep_at = name.size() < 5 ? std::string::npos : name.size() - 5;
  const bool has_keep = keep_at != std::string::npos && name[keep_at] == '_' &&
                        (name[keep_at + 1] == 'p' || name[keep_at + 1] == 't');
  uint32_t keep = 0;
  if (!has_keep || !absl::SimpleAtoi(name.substr(keep_at + 2), &keep)) return name;
  const std::string head = name.substr(0, keep_at);
  for (const Selection selection :
       {Selection::kFront, Selection::kBack, Selection::kKeyNorm, Selection::kValueNorm}) {
    std::string scheme = head;
    if (!TakeSuffix(scheme, absl::StrCat("_", std::string(SelectionName(selection))))) continue;
    const std::string keep_text = name[keep_at + 1] == 'p'
                                      ? absl::StrFormat("keep_ratio=%.2f", keep / 100.0)
                                      : absl::StrCat("keep_tokens=", keep);
    return absl::StrCat(scheme, ",select=", std::string(SelectionName(selection)), ",", keep_text);
  }
  return std::nullopt;
}

// The inverse of CodecText, for codecs that differ from their scheme's default in selection alone.
std::string ShortName(const CodecSpec& codec) {
  std::string name(SchemeName(codec.scheme));
  if (codec.selection == Selection::kAll || !codec.keep.has_value()) return name;
  absl::StrAppend(&name, "_", std::string(SelectionName(codec.selection)));
  if (const float* ratio = std::get_if<float>(&*codec.keep)) {
    absl::StrAppend(&name, absl::StrFormat("_p%03d", std::lround(*ratio * 100)));
  } else {
    absl::StrAppend(&name, absl::StrFormat("_t%03d", std::get<uint32_t>(*codec.keep)));
  }
  return name;
}

std::string FileName(std::string text) {
  for (char& c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '-') c = '_';
  }
  return text;
}

}  // namespace

bool SharesCache(v1::Mode mode) { return mode == v1::MODE_FUSED || mode == v1::MODE_PREFIX; }

absl::StatusOr<Point> PointFromName(const std::string& name) {
  for (const NamedMode& known : kModes) {
    if (name == known.name && !SharesCache(known.mode)) return Point{name, known.mode};
  }
  if (name == kReceiverContext) {
    return Point{
        .name = name, .mode = v1::MODE_RECEIVER, .context_reader = Point::ContextReader::kReceiver};
  }
  Point point{.name = name, .mode = v1::MODE_FUSED};
  std::string codec_name = name;
  if (codec_name.starts_with(kPrefix)) {
    point.mode = v1::MODE_PREFIX;
    codec_name.erase(0, sizeof(kPrefix) - 1);
  }
  if (TakeSuffix(codec_name, kWrongQuestion)) {
    point.control = v1::CONTROL_WRONG_QUESTION;
  } else if (TakeSuffix(codec_name, kZeroCache)) {
    point.control = v1::CONTROL_ZERO_CACHE;
  }
  const auto refuse = [&](const std::string& reason) {
    return absl::InvalidArgumentError(
        absl::StrCat("point \"", name, "\": ", reason,
                     "; a point is receiver, receiver_context, sharer, text, text_answer or "
                     "[prefix_]SCHEME[_SELECTION_pNNN|_SELECTION_tNNN]"
                     "[_wrong_question|_zero_cache]"));
  };
  if (name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != std::string::npos) {
    return refuse("a name has only a-z, 0-9 and _");
  }
  const std::optional<std::string> text = CodecText(codec_name);
  if (!text) return refuse("unknown selection");
  absl::StatusOr<CodecSpec> codec = CodecSpec::Parse(*text);
  if (!codec.ok()) return refuse(std::string(codec.status().message()));
  point.codec = *codec;
  return point;
}

absl::StatusOr<Point> MakePoint(v1::Mode mode, const std::optional<CodecSpec>& codec) {
  if (SharesCache(mode) != codec.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("mode ", ModeName(mode),
                     codec.has_value() ? " takes no codec" : " needs a codec, e.g. int8"));
  }
  if (!SharesCache(mode)) return Point{ModeName(mode), mode};
  const std::string prefix = mode == v1::MODE_PREFIX ? kPrefix : "";
  Point point{.name = prefix + ShortName(*codec), .mode = mode, .codec = codec};
  const absl::StatusOr<Point> same = PointFromName(point.name);
  if (!same.ok() || same->codec != codec) point.name = prefix + FileName(codec->ToString());
  return point;
}

absl::StatusOr<v1::Mode> ModeFromName(const std::string& name) {
  for (const NamedMode& known : kModes) {
    if (name == known.name) return known.mode;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "mode is \"", name, "\"; expected receiver, sharer, fused, text, text_answer or prefix"));
}

std::string ModeName(v1::Mode mode) {
  for (const NamedMode& known : kModes) {
    if (mode == known.mode) return known.name;
  }
  return "unspecified";
}

absl::StatusOr<v1::Combine> CombineFromName(const std::string& name) {
  for (const v1::Combine combine : {v1::COMBINE_SEQUENTIAL, v1::COMBINE_PARALLEL}) {
    if (name == CombineName(combine)) return combine;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("combine is \"", name, "\"; expected sequential or parallel"));
}

std::string CombineName(v1::Combine combine) {
  switch (combine) {
    case v1::COMBINE_SEQUENTIAL:
      return "sequential";
    case v1::COMBINE_PARALLEL:
      return "parallel";
    default:
      return "";
  }
}

namespace {

void AddTreatment(const TreatmentSpec& treatment, nlohmann::ordered_json& json) {
  if (treatment.rotation != Rotation::kKeep) json["rotation"] = RotationName(treatment.rotation);
  if (treatment.mean != Mean::kKeep) json["mean"] = MeanName(treatment.mean);
  if (treatment.calibration != 0) json["calibration"] = HashText(treatment.calibration);
  if (treatment.hadamard != Hadamard::kOff) json["hadamard"] = HadamardName(treatment.hadamard);
  if (treatment.zero_point != ZeroPoint::kNone) {
    json["zero_point"] = ZeroPointName(treatment.zero_point);
  }
}

}  // namespace

nlohmann::ordered_json CodecToJson(const CodecSpec& codec) {
  nlohmann::ordered_json json;
  json["scheme"] = SchemeName(codec.scheme);
  if (codec.klt) {
    if (codec.klt->codebook != 0) json["codebook"] = HashText(codec.klt->codebook);
    if (codec.klt->level) json["level"] = *codec.klt->level;
    if (codec.klt->budget_bytes != 0) json["budget_bytes"] = codec.klt->budget_bytes;
    if (codec.klt->fallback) json["fallback"] = SchemeName(*codec.klt->fallback);
    return json;
  }
  if (codec.axis != Axis::kNone) {
    json["axis"] = AxisName(codec.axis);
    json["scale"] = ScaleTypeName(codec.scale_type);
  }
  if (codec.group_size != 0) json["group"] = codec.group_size;
  AddTreatment(codec.treatment, json);
  json["select"] = SelectionName(codec.selection);
  if (codec.sinks != 0) json["sinks"] = codec.sinks;
  if (codec.selection == Selection::kRandom) json["seed"] = codec.seed;
  if (codec.window != 0) json["window"] = codec.window;
  if (codec.pool != 0) json["pool"] = codec.pool;
  if (codec.index_sets != IndexSets::kOne) json["indices"] = IndexSetsName(codec.index_sets);
  if (codec.keep_tokens_min != 0) json["keep_tokens_min"] = codec.keep_tokens_min;
  if (codec.keep.has_value()) {
    if (const float* ratio = std::get_if<float>(&*codec.keep)) {
      // Through the shortest decimal, not the float's expansion (0.1, not 0.10000000149).
      json["keep_ratio"] = std::stod(absl::StrFormat("%.6g", *ratio));
    } else {
      json["keep_tokens"] = std::get<uint32_t>(*codec.keep);
    }
  }
  if (codec.budget_bytes != 0) json["budget_bytes"] = codec.budget_bytes;
  if (codec.weights != 0) json["weights"] = HashText(codec.weights);
  for (const Half half : {Half::kKey, Half::kValue}) {
    const std::string list = codec.schedule.Text(codec.precision(), half);
    if (!list.empty()) json[half == Half::kKey ? "keys" : "values"] = list;
  }
  return json;
}

}  // namespace qc2c
