// What the readers of frames share: one spelling of a message, one wording of a difference.
#pragma once

#include <algorithm>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"

namespace qc2c {

template <typename Found, typename Expected>
std::string Differs(const char* field, const Found& found, const Expected& expected) {
  return absl::StrCat(field, " is ", found, ": expected ", expected);
}

// Parses a small message and refuses every spelling but the writer's: unknown or repeated fields,
// another order, long varints and written defaults would all be lost in serializing it again.
template <typename Message>
absl::StatusOr<Message> ParseCanonical(ByteSpan bytes, size_t max_bytes, const char* name) {
  if (bytes.size() > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " has ", bytes.size(), " bytes: expected at most ", max_bytes));
  }
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": does not parse"));
  }
  message.DiscardUnknownFields();
  const std::string again = message.SerializeAsString();
  if (!std::ranges::equal(AsBytes(again), bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": has unknown or repeated fields or is not in canonical form"));
  }
  return message;
}

}  // namespace qc2c
