#include "common/model/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/model/memory_map.h"
#include "common/model/torch_status.h"

namespace qc2c {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's own implementation
constexpr size_t kMaxRank = 16;

struct DtypeName {
  const char* name;
  at::ScalarType type;
};
constexpr DtypeName kDtypes[] = {
    {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf},  {"BF16", at::kBFloat16},
    {"I64", at::kLong},   {"I32", at::kInt},   {"I16", at::kShort}, {"I8", at::kChar},
    {"U8", at::kByte},    {"BOOL", at::kBool},
};

struct Entry {
  std::string name;
  at::ScalarType type;
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // in the data section
  uint64_t end = 0;
};

absl::Status Bad(const std::string& file, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(file, ": ", what));
}

// A JSON object may repeat a key, and the parser would keep the last one: refuse instead.
absl::StatusOr<nlohmann::json> ParseHeader(const std::string& file, const char* text,
                                           uint64_t bytes) {
  std::set<std::string> names;
  std::string repeated;
  const auto watch = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    if (event == nlohmann::json::parse_event_t::key && depth == 1 &&
        !names.insert(value.get<std::string>()).second) {
      repeated = value.get<std::string>();
    }
    return true;
  };
  nlohmann::json header =
      nlohmann::json::parse(text, text + bytes, watch, /*allow_exceptions=*/false);
  if (header.is_discarded()) return Bad(file, "the header is not valid JSON");
  if (!header.is_object()) return Bad(file, "the header is not a JSON object");
  if (!repeated.empty()) return Bad(file, absl::StrCat("tensor ", repeated, " is listed twice"));
  return header;
}

// A list of non-negative integers that fit int64.
bool ReadInts(const nlohmann::json& object, const char* key, std::vector<int64_t>& ints) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_array()) return false;
  for (const nlohmann::json& item : *it) {
    if (!item.is_number_unsigned()) return false;
    if (item.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) return false;
    ints.push_back(item.get<int64_t>());
  }
  return true;
}

absl::StatusOr<Entry> ReadEntry(const std::string& file, const std::string& name,
                                const nlohmann::json& value) {
  const std::string where = absl::StrCat("tensor ", name, ": ");
  if (!value.is_object()) return Bad(file, where + "its entry is not an object");
  Entry entry{.name = name};
  const auto dtype = value.find("dtype");
  const auto* known = std::end(kDtypes);
  if (dtype != value.end() && dtype->is_string()) {
    known = std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const DtypeName& candidate) {
      return dtype->get<std::string>() == candidate.name;
    });
  }
  if (known == std::end(kDtypes)) return Bad(file, where + "dtype is missing or unknown");
  entry.type = known->type;
  if (!ReadInts(value, "shape", entry.shape) || entry.shape.size() > kMaxRank) {
    return Bad(file, absl::StrCat(where, "shape is not a list of at most ", kMaxRank, " sizes"));
  }
  std::vector<int64_t> offsets;
  if (!ReadInts(value, "data_offsets", offsets) || offsets.size() != 2 || offsets[0] > offsets[1]) {
    return Bad(file, where + "data_offsets is not [begin, end] with begin <= end");
  }
  entry.begin = static_cast<uint64_t>(offsets[0]);
  entry.end = static_cast<uint64_t>(offsets[1]);

  std::optional<uint64_t> bytes = c10::elementSize(entry.type);
  for (const int64_t size : entry.shape) {
    if (bytes) bytes = CheckedProduct({*bytes, static_cast<uint64_t>(size)});
  }
  if (!bytes || *bytes != entry.end - entry.begin) {
    return Bad(file, absl::StrCat(where, "data_offsets span ", entry.end - entry.begin,
                                  " bytes: expected ",
                                  bytes ? absl::StrCat(*bytes) : "an impossible number",
                                  " for its shape and dtype"));
  }
  return entry;
}

// Sorts by place and checks that the tensors fill the data section exactly.
absl::Status CheckPlaces(const std::string& file, std::vector<Entry>& entries,
                         uint64_t data_bytes) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  uint64_t expected = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != expected) {
      return Bad(
          file, absl::StrCat("tensor ", entry.name, " begins at byte ", entry.begin, " of the data",
                             entry.begin < expected ? " and overlaps" : " and leaves a gap",
                             ": expected ", expected));
    }
    expected = entry.end;
  }
  if (expected > data_bytes) {
    return absl::DataLossError(absl::StrCat(file, ": the tensors need ", expected,
                                            " bytes of data, the file has ", data_bytes));
  }
  if (expected < data_bytes) {
    return Bad(file, absl::StrCat("the tensors fill ", expected, " bytes of data, the file has ",
                                  data_bytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<at::Tensor> MakeTensor(const std::string& file, const Entry& entry,
                                      const std::shared_ptr<MemoryMap>& map, uint8_t* data) {
  if (entry.type == at::kBool &&
      std::any_of(data, data + (entry.end - entry.begin), [](uint8_t byte) { return byte > 1; })) {
    return Bad(file, absl::StrCat("tensor ", entry.name, ": a BOOL is neither 0 nor 1"));
  }
  const auto options = at::TensorOptions().dtype(entry.type);
  if (reinterpret_cast<uintptr_t>(data) % c10::elementSize(entry.type) != 0) {
    at::Tensor copy = at::empty(entry.shape, options);
    std::memcpy(copy.data_ptr(), data, entry.end - entry.begin);
    return copy;
  }
  return at::from_blob(data, entry.shape, [map](void*) {}, options);
}

absl::StatusOr<NamedTensors> ReadMapped(const std::string& file,
                                        const std::shared_ptr<MemoryMap>& map) {
  if (map->size() < kLengthBytes) {
    return absl::DataLossError(
        absl::StrCat(file, ": ", map->size(), " bytes: expected the 8 bytes of the header length"));
  }
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, map->data(), kLengthBytes);
  if (header_bytes > kMaxHeaderBytes) {
    return Bad(file, absl::StrCat("the header claims ", header_bytes, " bytes: expected at most ",
                                  kMaxHeaderBytes));
  }
  if (header_bytes > map->size() - kLengthBytes) {
    return absl::DataLossError(absl::StrCat(file, ": the header claims ", header_bytes,
                                            " bytes, the file has ", map->size() - kLengthBytes,
                                            " after the length"));
  }
  const char* text = reinterpret_cast<const char*>(map->data()) + kLengthBytes;
  ASSIGN_OR_RETURN(const nlohmann::json header, ParseHeader(file, text, header_bytes));
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") continue;
    ASSIGN_OR_RETURN(Entry entry, ReadEntry(file, name, value));
    entries.push_back(std::move(entry));
  }
  RETURN_IF_ERROR(CheckPlaces(file, entries, map->size() - kLengthBytes - header_bytes));

  NamedTensors tensors;
  uint8_t* data = map->data() + kLengthBytes + header_bytes;
  for (const Entry& entry : entries) {
    ASSIGN_OR_RETURN(at::Tensor tensor, MakeTensor(file, entry, map, data + entry.begin));
    tensors.emplace_back(entry.name, std::move(tensor));
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
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  uint64_t offset = 0;
  for (auto& [name, tensor] : tensors) {
    tensor = tensor.detach().to(at::kCPU).contiguous();
    ASSIGN_OR_RETURN(const std::string dtype, NameOf(tensor.scalar_type()));
    if (header.contains(name)) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", name, " is given twice"));
    }
    header[name] = {{"dtype", dtype},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, offset + tensor.nbytes()}}};
    offset += tensor.nbytes();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begins at a multiple of eight
  const uint64_t header_bytes = text.size();
  std::string file(reinterpret_cast<const char*>(&header_bytes), kLengthBytes);
  file.reserve(kLengthBytes + header_bytes + offset);
  file += text;
  for (const auto& [name, tensor] : tensors) {
    file.append(static_cast<const char*>(tensor.data_ptr()), tensor.nbytes());
  }
  return file;
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
