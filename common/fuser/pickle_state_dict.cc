#include "common/fuser/pickle_state_dict.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstring>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/fuser/pickle_reader.h"
#include "common/fuser/stored_zip.h"
#include "common/model/memory_map.h"
#include "common/model/torch_status.h"

namespace qc2c {
namespace {

using Entries = std::map<std::string, ByteSpan>;

constexpr char kPickle[] = "/data.pkl";
// A projector's pickle has some 5 KB; the values that it makes take up to 250 times as much.
constexpr size_t kMaxPickleBytes = size_t{1} << 20;

// The archive's one top folder, which is named after the file that torch.save wrote.
absl::StatusOr<std::string> TopFolder(const Entries& entries) {
  std::string top;
  for (const auto& [name, bytes] : entries) {
    if (!absl::EndsWith(name, kPickle) || name.find('/') != name.size() - sizeof(kPickle) + 1) {
      continue;
    }
    if (!top.empty()) return absl::InvalidArgumentError("several entries FOLDER/data.pkl");
    top = name.substr(0, name.find('/'));
  }
  if (top.empty()) return absl::InvalidArgumentError("no entry FOLDER/data.pkl");
  return top;
}

absl::Status CheckByteOrder(const Entries& entries, const std::string& top) {
  const auto it = entries.find(top + "/byteorder");
  if (it == entries.end()) return absl::OkStatus();  // older files have none and are little-endian
  const std::string order(it->second.begin(), it->second.end());
  if (order == "little") return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "byteorder is \"", absl::CHexEscape(order.substr(0, 20)), "\": expected \"little\""));
}

// The bytes of a tensor inside the archive.
absl::StatusOr<ByteSpan> TensorBytes(const PickledTensor& tensor, const Entries& entries,
                                     const std::string& top) {
  const std::string where = absl::StrCat("tensor ", absl::CHexEscape(tensor.name), ": ");
  const auto it = entries.find(absl::StrCat(top, "/data/", tensor.storage));
  if (it == entries.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, "storage ", absl::CHexEscape(tensor.storage), " is missing"));
  }
  const ByteSpan storage = it->second;
  const uint64_t element = c10::elementSize(tensor.dtype);
  const auto promised = CheckedProduct({static_cast<uint64_t>(tensor.storage_elements), element});
  if (!promised || *promised != storage.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, "storage ", tensor.storage, " has ", storage.size(), " bytes: expected ",
        tensor.storage_elements, " elements of ", element, " bytes"));
  }
  std::optional<uint64_t> bytes = element;
  for (const int64_t size : tensor.sizes) {
    if (bytes) bytes = CheckedProduct({*bytes, static_cast<uint64_t>(size)});
  }
  const auto begin = CheckedProduct({static_cast<uint64_t>(tensor.offset), element});
  if (!bytes || !begin || *begin > storage.size() || *bytes > storage.size() - *begin) {
    return absl::InvalidArgumentError(absl::StrCat(where, "it passes the end of storage ",
                                                   tensor.storage, ", which has ", storage.size(),
                                                   " bytes"));
  }
  return storage.subspan(*begin, *bytes);
}

at::Tensor ViewOf(ByteSpan bytes, const PickledTensor& tensor,
                  const std::shared_ptr<MemoryMap>& map) {
  const auto options = at::TensorOptions().dtype(tensor.dtype);
  if (reinterpret_cast<uintptr_t>(bytes.data()) % c10::elementSize(tensor.dtype) != 0) {
    at::Tensor copy = at::empty(tensor.sizes, options);
    std::memcpy(copy.data_ptr(), bytes.data(), bytes.size());
    return copy;
  }
  uint8_t* data = map->data() + (bytes.data() - map->data());  // the map is ours to write to
  return at::from_blob(data, tensor.sizes, [map](void*) {}, options);
}

absl::StatusOr<NamedTensors> Read(const std::shared_ptr<MemoryMap>& map) {
  ASSIGN_OR_RETURN(const Entries entries, ReadStoredZip({map->data(), map->size()}));
  ASSIGN_OR_RETURN(const std::string top, TopFolder(entries));
  RETURN_IF_ERROR(CheckByteOrder(entries, top));
  const ByteSpan pickle = entries.at(top + kPickle);
  if (pickle.size() > kMaxPickleBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("data.pkl has ", pickle.size(), " bytes: expected at most ", kMaxPickleBytes));
  }
  ASSIGN_OR_RETURN(const std::vector<PickledTensor> pickled, ReadPickledStateDict(pickle));
  NamedTensors tensors;
  for (const PickledTensor& tensor : pickled) {
    ASSIGN_OR_RETURN(const ByteSpan bytes, TensorBytes(tensor, entries, top));
    tensors.emplace_back(tensor.name, ViewOf(bytes, tensor, map));
  }
  return tensors;
}

}  // namespace

absl::StatusOr<NamedTensors> ReadStateDict(const std::filesystem::path& path) {
  return CatchTorch([&]() -> absl::StatusOr<NamedTensors> {
    ASSIGN_OR_RETURN(const std::shared_ptr<MemoryMap> map, MemoryMap::Open(path));
    absl::StatusOr<NamedTensors> tensors = Read(map);
    if (tensors.ok()) return tensors;
    return absl::Status(tensors.status().code(),
                        absl::StrCat(path.string(), ": ", tensors.status().message()));
  });
}

}  // namespace qc2c
