// JSON texts of strangers.
#pragma once

#include <string_view>

namespace qc2c {

// More than any file or message of this project has.
inline constexpr int kMaxJsonDepth = 64;

// Whether lists and objects nest more than kMaxJsonDepth deep. nlohmann::json parses such a text,
// but copying, writing or destroying what it makes goes a call deeper a level, and the stack has an
// end: a text of a stranger is asked this first. One that is no JSON may give either answer.
bool NestsTooDeep(std::string_view json);

// What `text` says; a discarded value where it is no JSON or nests too deep. `Json` is
// nlohmann::json or ordered_json.
template <typename Json>
Json ParseBoundedJson(std::string_view text) {
  if (NestsTooDeep(text)) return Json(Json::value_t::discarded);
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace qc2c
