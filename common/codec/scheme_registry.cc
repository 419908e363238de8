#include "common/codec/scheme_registry.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "common/codec/absmax.h"
#include "common/codec/codec_spec.h"
#include "common/codec/float_scheme.h"
#include "common/codec/level_scheme.h"

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
      RegisteredScheme{Fp8E4m3Scheme(), QC2C_ON_CUDA(kFp8E4m3Cuda)},
      RegisteredScheme{Fp8E5m2Scheme(), QC2C_ON_CUDA(kFp8E5m2Cuda)},
      RegisteredScheme{Int8Scheme(), QC2C_ON_CUDA(kInt8Cuda)},
      RegisteredScheme{Int4Scheme(), QC2C_ON_CUDA(kInt4Cuda)},
      RegisteredScheme{Int3Scheme(), QC2C_ON_CUDA(kInt3Cuda)},
      RegisteredScheme{Int2Scheme(), QC2C_ON_CUDA(kInt2Cuda)},
      RegisteredScheme{Int2LloydScheme(), QC2C_ON_CUDA(kInt2LloydCuda)},
      RegisteredScheme{Int2AbsmaxScheme(), QC2C_ON_CUDA(kInt2AbsmaxCuda)},
      RegisteredScheme{BinaryScheme(), QC2C_ON_CUDA(kBinaryCuda)},
      RegisteredScheme{Nf4Scheme(), QC2C_ON_CUDA(kNf4Cuda)},
  };
  return kSchemes;
}

const SchemeCoder* FindScheme(Scheme scheme) {
  for (const RegisteredScheme& known : AllSchemes()) {
    if (known.coder->scheme() == scheme) return known.coder;
  }
  return nullptr;
}

std::string SchemeNames(std::string_view separator) {
  std::string names;
  for (const RegisteredScheme& known : AllSchemes()) {
    absl::StrAppend(&names, std::string(known.coder->name()), std::string(separator));
  }
  return absl::StrCat(names, std::string(SchemeName(Scheme::kKlt)));
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
