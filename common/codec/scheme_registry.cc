#include "common/codec/scheme_registry.h"

#include <array>

#include "common/codec/float_scheme.h"
#include "common/codec/int4.h"
#include "common/codec/int8.h"

namespace qc2c {

std::span<const SchemeCoder* const> AllSchemes() {
  static const std::array<const SchemeCoder*, 5> kSchemes = {
      Fp32Scheme(),  //
      Bf16Scheme(),  //
      Fp16Scheme(),  //
      Int8Scheme(),  //
      Int4Scheme(),
  };
  return kSchemes;
}

const SchemeCoder* FindScheme(Scheme scheme) {
  for (const SchemeCoder* coder : AllSchemes()) {
    if (coder->scheme() == scheme) return coder;
  }
  return nullptr;
}

const SchemeCoder* FindScheme(std::string_view name) {
  for (const SchemeCoder* coder : AllSchemes()) {
    if (coder->name() == name) return coder;
  }
  return nullptr;
}

}  // namespace qc2c
