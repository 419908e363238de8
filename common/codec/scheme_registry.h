// All schemes this build knows.
#pragma once

#include <span>
#include <string_view>

#include "common/codec/scheme.h"

namespace qc2c {

std::span<const SchemeCoder* const> AllSchemes();

// Null if there is none. What comes from the wire may hold any value.
const SchemeCoder* FindScheme(Scheme scheme);
const SchemeCoder* FindScheme(std::string_view name);

}  // namespace qc2c
