// The scheme klt in a codec's text: "klt[,codebook=HEX],level=N[,fallback=SCHEME]" or
// "...,budget_bytes=B...".
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/codec/codec_spec.h"

namespace qc2c {

// `items` are the "key=value" behind the scheme's name. INVALID_ARGUMENT naming the key, the value
// and what was expected.
absl::StatusOr<CodecSpec> ParseKlt(std::span<const std::string_view> items);
std::string KltToString(const KltChoice& choice);
// INVALID_ARGUMENT unless the scheme is klt with a choice of its own and none of another scheme.
absl::Status ValidateKlt(const CodecSpec& spec);

}  // namespace qc2c
