// All schemes this build knows.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "common/codec/cuda_scheme.h"
#include "common/codec/scheme.h"

namespace qc2c {

struct RegisteredScheme {
  const SchemeCoder* coder;
  const CudaScheme* cuda;  // null in a build without CUDA
};

std::span<const RegisteredScheme> AllSchemes();

// The names of those and klt, which is no scheme of tensors: all that this build can code.
std::string SchemeNames(std::string_view separator);

// Null if there is none. What comes from the wire may hold any value.
const SchemeCoder* FindScheme(Scheme scheme);
const SchemeCoder* FindScheme(std::string_view name);
const CudaScheme* FindCudaScheme(Scheme scheme);

}  // namespace qc2c
