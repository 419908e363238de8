#include "common/codec/scheme_registry.h"

#include <array>

#include "common/codec/float_scheme.h"
#include "common/codec/int4.h"
#include "common/codec/int8.h"

#ifdef QC2C_ENABLE_CUDA
#define QC2C_ON_CUDA(scheme) &(scheme)
#else
#define QC2C_ON_CUDA(scheme) nullptr
#endif

namespace qc2c {

std::span<const RegisteredScheme> AllSchemes() {
  static const std::array kSchemes = {
      RegisteredScheme{Fp32Scheme(), QC2C_ON_CUDA(kFp32Cuda)},
      RegisteredScheme{Bf16Scheme(), QC2C_ON_CUDA(kBf16Cuda)},
      RegisteredScheme{Fp16Scheme(), QC2C_ON_CUDA(kFp16Cuda)},
      RegisteredScheme{Int8Scheme(), QC2C_ON_CUDA(kInt8Cuda)},
      RegisteredScheme{Int4Scheme(), QC2C_ON_CUDA(kInt4Cuda)},
  };
  return kSchemes;
}

const SchemeCoder* FindScheme(Scheme scheme) {
  for (const RegisteredScheme& known : AllSchemes()) {
    if (known.coder->scheme() == scheme) return known.coder;
  }
  return nullptr;
}

const SchemeCoder* FindScheme(std::string_view name) {
  for (const RegisteredScheme& known : AllSchemes()) {
    if (known.coder->name() == name) return known.coder;
  }
  return nullptr;
}

const CudaScheme* FindCudaScheme(Scheme scheme) {
  for (const RegisteredScheme& known : AllSchemes()) {
    if (known.coder->scheme() == scheme) return known.cuda;
  }
  return nullptr;
}

}  // namespace qc2c
