// How the texts of a codec's choices are read, and refused.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace qc2c {

// What a count expects.
inline constexpr const char* kAtLeastOne = "a whole number of at least 1";

// INVALID_ARGUMENT: "codec: KEY is 'VALUE': expected EXPECTED".
inline absl::Status Unexpected(std::string_view key, std::string_view value,
                               std::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat("codec: ", std::string(key), " is '",
                                                 std::string(value), "': expected ",
                                                 std::string(expected)));
}

// "all, front, back" for messages.
template <typename T, size_t kCount>
std::string NamesOf(const T (&choices)[kCount], std::string_view (*name)(T)) {
  std::string names;
  for (const T choice : choices) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", std::string(name(choice)));
  }
  return names;
}

// Sets `field` to the one of `choices` that is called `value`.
template <typename T, size_t kCount>
absl::Status ParseName(std::string_view key, std::string_view value, const T (&choices)[kCount],
                       std::string_view (*name)(T), T& field) {
  for (const T choice : choices) {
    if (name(choice) != value) continue;
    field = choice;
    return absl::OkStatus();
  }
  return Unexpected(key, value, NamesOf(choices, name));
}

}  // namespace qc2c
