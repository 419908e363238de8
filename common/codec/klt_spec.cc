#include "common/codec/klt_spec.h"

#include <charconv>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/codec/scheme_registry.h"

namespace qc2c {
namespace {

absl::Status Unexpected(std::string_view key, std::string_view value, const char* expected) {
  return absl::InvalidArgumentError(absl::StrCat("codec: ", std::string(key), " is '",
                                                 std::string(value), "': expected ", expected));
}

template <typename T>
bool ParseWhole(std::string_view text, int base, T& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return error == std::errc() && end == text.data() + text.size();
}

absl::Status ParseItem(std::string_view key, std::string_view value, KltChoice& choice) {
  if (key == "codebook") {
    if (value.size() == 16 && ParseWhole(value, 16, choice.codebook) && choice.codebook != 0) {
      return absl::OkStatus();
    }
    return Unexpected(key, value, "16 hexadecimal digits, not all 0");
  }
  if (key == "level") {
    uint32_t level = 0;
    if (!ParseWhole(value, 10, level)) return Unexpected(key, value, "a whole number");
    choice.level = level;
    return absl::OkStatus();
  }
  if (key == "budget_bytes") {
    if (ParseWhole(value, 10, choice.budget_bytes) && choice.budget_bytes > 0) {
      return absl::OkStatus();
    }
    return Unexpected(key, value, "a whole number of at least 1");
  }
  if (key == "fallback") {
    const SchemeCoder* const coder = FindScheme(value);
    if (coder == nullptr) return Unexpected(key, value, "the name of another scheme");
    choice.fallback = coder->scheme();
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("codec: unknown key '", std::string(key),
                                                 "' of klt: expected codebook, level, "
                                                 "budget_bytes or fallback"));
}

}  // namespace

CodecSpec CodecSpec::Klt(const KltChoice& choice) {
  CodecSpec spec;
  spec.scheme = Scheme::kKlt;
  spec.axis = Axis::kNone;
  spec.scale_type = ScaleType::kNone;
  spec.klt = choice;
  return spec;
}

absl::StatusOr<CodecSpec> ParseKlt(std::span<const std::string_view> items) {
  KltChoice choice;
  std::set<std::string_view> seen;
  for (const std::string_view item : items) {
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos) return Unexpected("option", item, "key=value");
    const std::string_view key = item.substr(0, equals);
    if (!seen.insert(key).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("codec: key '", std::string(key), "' is given twice"));
    }
    RETURN_IF_ERROR(ParseItem(key, item.substr(equals + 1), choice));
  }
  const CodecSpec spec = CodecSpec::Klt(choice);
  RETURN_IF_ERROR(ValidateKlt(spec));
  return spec;
}

std::string KltToString(const KltChoice& choice) {
  std::string text(SchemeName(Scheme::kKlt));
  if (choice.codebook != 0) absl::StrAppend(&text, ",codebook=", HashText(choice.codebook));
  if (choice.level) absl::StrAppend(&text, ",level=", *choice.level);
  if (choice.budget_bytes != 0) absl::StrAppend(&text, ",budget_bytes=", choice.budget_bytes);
  if (choice.fallback) {
    absl::StrAppend(&text, ",fallback=", std::string(SchemeName(*choice.fallback)));
  }
  return text;
}

absl::Status ValidateKlt(const CodecSpec& spec) {
  if (spec.scheme != Scheme::kKlt || !spec.klt) {
    return absl::InvalidArgumentError(
        "codec: scheme klt and its level or budget_bytes go with each other alone");
  }
  if (spec != CodecSpec::Klt(*spec.klt)) {
    return absl::InvalidArgumentError(
        "codec: scheme is klt, which has no axis, scale, group or selection");
  }
  if (spec.klt->level.has_value() == (spec.klt->budget_bytes != 0)) {
    return absl::InvalidArgumentError("codec: klt needs one of level and budget_bytes");
  }
  if (spec.klt->fallback == Scheme::kKlt) {
    return absl::InvalidArgumentError("codec: fallback is klt: expected another scheme");
  }
  return absl::OkStatus();
}

}  // namespace qc2c
