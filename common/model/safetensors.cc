#include "common/model/safetensors.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/model/memory_map.h"
#include "common/model/torch_status.h"
#include "common/tensor/safetensors_view.h"

namespace qc2c {
namespace {

struct DtypeName {
  const char* name;
  at::ScalarType type;
};
constexpr DtypeName kDtypes[] = {
    {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf},  {"BF16", at::kBFloat16},
    {"I64", at::kLong},   {"I32", at::kInt},   {"I16", at::kShort}, {"I8", at::kChar},
    {"U8", at::kByte},    {"BOOL", at::kBool},
};

// REQUIRES: a dtype of the format.
at::ScalarType TypeOf(const std::string& dtype) {
  return std::ranges::find(kDtypes, dtype, &DtypeName::name)->type;
}

absl::StatusOr<at::Tensor> MakeTensor(const std::string& file, const StoredTensor& stored,
                                      const std::shared_ptr<MemoryMap>& map) {
  const at::ScalarType type = TypeOf(stored.dtype);
  uint8_t* const data = map->data() + (stored.data.data() - map->data());
  if (type == at::kBool &&
      std::ranges::any_of(stored.data, [](uint8_t byte) { return byte > 1; })) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": tensor ", stored.name, ": a BOOL is neither 0 nor 1"));
  }
  const auto options = at::TensorOptions().dtype(type);
  if (reinterpret_cast<uintptr_t>(data) % c10::elementSize(type) != 0) {
    at::Tensor copy = at::empty(stored.shape, options);
    std::memcpy(copy.data_ptr(), data, stored.data.size());
    return copy;
  }
  return at::from_blob(data, stored.shape, [map](void*) {}, options);
}

absl::StatusOr<NamedTensors> ReadMapped(const std::string& file,
                                        const std::shared_ptr<MemoryMap>& map) {
  ASSIGN_OR_RETURN(const SafetensorsView view,
                   ViewSafetensors(ByteSpan(map->data(), map->size()), file));
  NamedTensors tensors;
  for (const StoredTensor& stored : view.tensors) {
    ASSIGN_OR_RETURN(at::Tensor tensor, MakeTensor(file, stored, map));
    tensors.emplace_back(stored.name, std::move(tensor));
  }
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  return tensors;
}

absl::StatusOr<std::string> NameOf(at::ScalarType type) {
  for (const DtypeName& candidate : kDtypes) {
    if (candidate.type == type) return std::string(candidate.name);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("safetensors has no dtype for ", c10::toString(type)));
}

absl::StatusOr<std::string> Serialize(NamedTensors tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    const size_t a_bytes = a.second.element_size();
    const size_t b_bytes = b.second.element_size();
    return a_bytes != b_bytes ? a_bytes > b_bytes : a.first < b.first;
  });
  SafetensorsView content;
  for (auto& [name, tensor] : tensors) {
    tensor = tensor.detach().to(at::kCPU).contiguous();
    ASSIGN_OR_RETURN(std::string dtype, NameOf(tensor.scalar_type()));
    content.tensors.push_back({.name = name,
                               .dtype = std::move(dtype),
                               .shape = tensor.sizes().vec(),
                               .data = {static_cast<const uint8_t*>(tensor.data_ptr()),
                                        static_cast<size_t>(tensor.nbytes())}});
  }
  return SerializeSafetensors(content);
}

}  // namespace

absl::StatusOr<NamedTensors> ReadSafetensors(const std::filesystem::path& path) {
  return CatchTorch([&]() -> absl::StatusOr<NamedTensors> {
    ASSIGN_OR_RETURN(const std::shared_ptr<MemoryMap> map, MemoryMap::Open(path));
    return ReadMapped(path.string(), map);
  });
}

absl::Status WriteSafetensors(const std::filesystem::path& path, const NamedTensors& tensors) {
  return CatchTorch([&]() -> absl::Status {
    ASSIGN_OR_RETURN(const std::string content, Serialize(tensors));
    return WriteFileAtomically(path, content);
  });
}

}  // namespace qc2c
