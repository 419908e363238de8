#include "common/tensor/safetensors_view.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's own implementation
constexpr size_t kMaxRank = 16;
constexpr char kMetadata[] = "__metadata__";

struct Entry {
  std::string name;
  std::string dtype;
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
  if (dtype != value.end() && dtype->is_string()) entry.dtype = dtype->get<std::string>();
  const int element_bytes = SafetensorsElementBytes(entry.dtype);
  if (element_bytes == 0) return Bad(file, where + "dtype is missing or unknown");
  if (!ReadInts(value, "shape", entry.shape) || entry.shape.size() > kMaxRank) {
    return Bad(file, absl::StrCat(where, "shape is not a list of at most ", kMaxRank, " sizes"));
  }
  std::vector<int64_t> offsets;
  if (!ReadInts(value, "data_offsets", offsets) || offsets.size() != 2 || offsets[0] > offsets[1]) {
    return Bad(file, where + "data_offsets is not [begin, end] with begin <= end");
  }
  entry.begin = static_cast<uint64_t>(offsets[0]);
  entry.end = static_cast<uint64_t>(offsets[1]);

  std::optional<uint64_t> bytes = element_bytes;
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

absl::Status ReadMetadata(const std::string& file, const nlohmann::json& value,
                          std::map<std::string, std::string>& metadata) {
  if (!value.is_object()) return Bad(file, absl::StrCat(kMetadata, " is not an object"));
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) return Bad(file, absl::StrCat(kMetadata, ": ", key, " is not text"));
    metadata[key] = text.get<std::string>();
  }
  return absl::OkStatus();
}

}  // namespace

int SafetensorsElementBytes(const std::string& dtype) {
  static const std::map<std::string, int> kBytes = {{"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2},
                                                    {"I64", 8}, {"I32", 4}, {"I16", 2}, {"I8", 1},
                                                    {"U8", 1},  {"BOOL", 1}};
  const auto found = kBytes.find(dtype);
  return found == kBytes.end() ? 0 : found->second;
}

absl::StatusOr<SafetensorsView> ViewSafetensors(ByteSpan content, const std::string& file) {
  if (content.size() < kLengthBytes) {
    return absl::DataLossError(absl::StrCat(file, ": ", content.size(),
                                            " bytes: expected the 8 bytes of the header length"));
  }
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, content.data(), kLengthBytes);
  if (header_bytes > kMaxHeaderBytes) {
    return Bad(file, absl::StrCat("the header claims ", header_bytes, " bytes: expected at most ",
                                  kMaxHeaderBytes));
  }
  if (header_bytes > content.size() - kLengthBytes) {
    return absl::DataLossError(absl::StrCat(file, ": the header claims ", header_bytes,
                                            " bytes, the file has ", content.size() - kLengthBytes,
                                            " after the length"));
  }
  const char* text = reinterpret_cast<const char*>(content.data()) + kLengthBytes;
  ASSIGN_OR_RETURN(const nlohmann::json header, ParseHeader(file, text, header_bytes));
  SafetensorsView view;
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == kMetadata) {
      RETURN_IF_ERROR(ReadMetadata(file, value, view.metadata));
      continue;
    }
    ASSIGN_OR_RETURN(Entry entry, ReadEntry(file, name, value));
    entries.push_back(std::move(entry));
  }
  const ByteSpan data = content.subspan(kLengthBytes + header_bytes);
  RETURN_IF_ERROR(CheckPlaces(file, entries, data.size()));
  for (Entry& entry : entries) {
    view.tensors.push_back({.name = std::move(entry.name),
                            .dtype = std::move(entry.dtype),
                            .shape = std::move(entry.shape),
                            .data = data.subspan(entry.begin, entry.end - entry.begin)});
  }
  return view;
}

absl::StatusOr<std::string> SerializeSafetensors(const SafetensorsView& content) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!content.metadata.empty()) header[kMetadata] = content.metadata;
  uint64_t offset = 0;
  for (const StoredTensor& tensor : content.tensors) {
    if (header.contains(tensor.name)) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", tensor.name, " is given twice"));
    }
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.data.size()}}};
    offset += tensor.data.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begins at a multiple of eight
  const uint64_t header_bytes = text.size();
  std::string file(reinterpret_cast<const char*>(&header_bytes), kLengthBytes);
  file.reserve(kLengthBytes + header_bytes + offset);
  file += text;
  for (const StoredTensor& tensor : content.tensors) {
    file.append(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
  }
  return file;
}

}  // namespace qc2c
