#include "common/fuser/stored_zip.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

// Records of the format (PKWARE APPNOTE 6.3): signature, bytes without the fields of variable
// length.
constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr size_t kLocalBytes = 30;
constexpr uint32_t kDirectorySignature = 0x02014b50;
constexpr size_t kDirectoryBytes = 46;
constexpr uint32_t kEndSignature = 0x06054b50;
constexpr size_t kEndBytes = 22;
constexpr uint32_t kEnd64LocatorSignature = 0x07064b50;
constexpr size_t kEnd64LocatorBytes = 20;
constexpr uint32_t kEnd64Signature = 0x06064b50;
constexpr size_t kEnd64Bytes = 56;
constexpr size_t kMaxCommentBytes = 0xffff;

constexpr uint16_t kZip64Extra = 0x0001;
constexpr uint32_t kInZip64 = 0xffffffff;  // a 32-bit field whose value is in the ZIP64 extra field
constexpr uint16_t kEncrypted = 1;         // bit of the flags
constexpr uint16_t kStored = 0;            // compression method

template <typename T>
T Load(ByteSpan bytes, size_t at) {  // little-endian, as is every machine that this builds for
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

// `bytes` at `at` if they lie inside `whole`.
std::optional<ByteSpan> Part(ByteSpan whole, uint64_t at, uint64_t bytes) {
  if (at > whole.size() || bytes > whole.size() - at) return std::nullopt;
  return whole.subspan(at, bytes);
}

absl::Status Truncated(const std::string& what) {
  return absl::DataLossError(absl::StrCat(what, " passes the end of the archive"));
}

struct Directory {
  uint64_t num_entries = 0;
  uint64_t bytes = 0;
  uint64_t begin = 0;
};

absl::StatusOr<Directory> ReadEnd64(ByteSpan file, uint64_t end) {
  const auto locator = Part(file, end - std::min<uint64_t>(end, kEnd64LocatorBytes),
                            std::min<uint64_t>(end, kEnd64LocatorBytes));
  if (locator->size() != kEnd64LocatorBytes ||
      Load<uint32_t>(*locator, 0) != kEnd64LocatorSignature) {
    return absl::InvalidArgumentError("the ZIP64 end record's locator is missing");
  }
  const auto record = Part(file, Load<uint64_t>(*locator, 8), kEnd64Bytes);
  if (!record) return Truncated("the ZIP64 end record");
  if (Load<uint32_t>(*record, 0) != kEnd64Signature) {
    return absl::InvalidArgumentError("the ZIP64 end record is not where its locator says");
  }
  return Directory{.num_entries = Load<uint64_t>(*record, 32),
                   .bytes = Load<uint64_t>(*record, 40),
                   .begin = Load<uint64_t>(*record, 48)};
}

absl::StatusOr<Directory> FindDirectory(ByteSpan file) {
  if (file.size() < kEndBytes) return absl::DataLossError("too short for a ZIP archive");
  const size_t first = file.size() - std::min(file.size(), kEndBytes + kMaxCommentBytes);
  for (size_t at = file.size() - kEndBytes + 1; at-- > first;) {
    if (Load<uint32_t>(file, at) != kEndSignature) continue;
    if (Load<uint16_t>(file, at + 20) != file.size() - at - kEndBytes) continue;  // the comment
    const Directory directory{.num_entries = Load<uint16_t>(file, at + 10),
                              .bytes = Load<uint32_t>(file, at + 12),
                              .begin = Load<uint32_t>(file, at + 16)};
    if (Load<uint16_t>(file, at + 4) != 0 || Load<uint16_t>(file, at + 6) != 0) {
      return absl::InvalidArgumentError("the archive spans several disks: expected one file");
    }
    const bool is_zip64 = directory.num_entries == 0xffff || directory.bytes == kInZip64 ||
                          directory.begin == kInZip64;
    return is_zip64 ? ReadEnd64(file, at) : directory;
  }
  return absl::DataLossError("no ZIP end record: not a ZIP archive, or truncated");
}

struct Entry {
  std::string name;
  uint32_t crc = 0;
  uint64_t stored_bytes = 0;
  uint64_t bytes = 0;
  uint64_t local = 0;  // where its local header begins
  uint64_t data = 0;

  std::string Where() const { return absl::StrCat("entry \"", absl::CHexEscape(name), "\": "); }
};

// The 64-bit values that stand for 32-bit fields of all ones, in the order of those fields.
absl::Status ReadZip64Extra(ByteSpan extra, Entry& entry) {
  std::vector<uint64_t*> wide;
  for (uint64_t* field : {&entry.bytes, &entry.stored_bytes, &entry.local}) {
    if (*field == kInZip64) wide.push_back(field);
  }
  if (wide.empty()) return absl::OkStatus();
  while (extra.size() >= 4) {
    const auto tag = Load<uint16_t>(extra, 0);
    const auto value = Part(extra, 4, Load<uint16_t>(extra, 2));
    if (!value) break;
    if (tag == kZip64Extra && value->size() >= wide.size() * sizeof(uint64_t)) {
      for (size_t i = 0; i < wide.size(); ++i) *wide[i] = Load<uint64_t>(*value, i * 8);
      return absl::OkStatus();
    }
    extra = extra.subspan(4 + value->size());
  }
  return absl::InvalidArgumentError(entry.Where() + "its ZIP64 sizes are missing");
}

// Reads one directory record, and removes it from the front of `directory`.
absl::StatusOr<Entry> NextEntry(ByteSpan& directory) {
  if (directory.size() < kDirectoryBytes) return Truncated("the ZIP directory");
  if (Load<uint32_t>(directory, 0) != kDirectorySignature) {
    return absl::InvalidArgumentError("the ZIP directory has a record without its signature");
  }
  const auto name = Part(directory, kDirectoryBytes, Load<uint16_t>(directory, 28));
  const size_t extra_bytes = Load<uint16_t>(directory, 30);
  const auto extra = Part(directory, kDirectoryBytes + (name ? name->size() : 0), extra_bytes);
  const size_t comment_bytes = Load<uint16_t>(directory, 32);
  if (!name || !extra) return Truncated("the ZIP directory");
  const size_t record = kDirectoryBytes + name->size() + extra_bytes + comment_bytes;
  if (record > directory.size()) return Truncated("the ZIP directory");

  Entry entry{.name = std::string(name->begin(), name->end()),
              .crc = Load<uint32_t>(directory, 16),
              .stored_bytes = Load<uint32_t>(directory, 20),
              .bytes = Load<uint32_t>(directory, 24),
              .local = Load<uint32_t>(directory, 42)};
  if ((Load<uint16_t>(directory, 8) & kEncrypted) != 0) {
    return absl::InvalidArgumentError(entry.Where() + "encrypted");
  }
  const auto method = Load<uint16_t>(directory, 10);
  if (method != kStored) {
    return absl::InvalidArgumentError(
        absl::StrCat(entry.Where(), "compression method ", method, ": expected 0, stored"));
  }
  RETURN_IF_ERROR(ReadZip64Extra(*extra, entry));
  if (entry.bytes != entry.stored_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(entry.Where(), entry.stored_bytes,
                                                   " bytes stored for ", entry.bytes,
                                                   ": expected as many"));
  }
  directory = directory.subspan(record);
  return entry;
}

// Finds the entry's data behind its local header, which must carry the same name.
absl::Status LocateData(ByteSpan file, Entry& entry) {
  const auto header = Part(file, entry.local, kLocalBytes);
  if (!header) return Truncated(entry.Where() + "its header");
  const auto name = Part(file, entry.local + kLocalBytes, Load<uint16_t>(*header, 26));
  if (Load<uint32_t>(*header, 0) != kLocalSignature || !name ||
      !std::equal(name->begin(), name->end(), entry.name.begin(), entry.name.end(),
                  [](uint8_t a, char b) { return a == static_cast<uint8_t>(b); })) {
    return absl::InvalidArgumentError(entry.Where() + "no header of that name where it should be");
  }
  entry.data = entry.local + kLocalBytes + name->size() + Load<uint16_t>(*header, 28);
  if (!Part(file, entry.data, entry.bytes)) return Truncated(entry.Where() + "its data");
  return absl::OkStatus();
}

absl::Status CheckCrc(ByteSpan data, const Entry& entry) {
  const uint64_t crc = crc32_z(0, data.data(), data.size());
  if (crc == entry.crc) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(entry.Where(), "CRC-32 is ", absl::Hex(crc),
                                          ": the directory says ", absl::Hex(entry.crc)));
}

absl::Status CheckNoOverlap(std::vector<Entry>& entries, uint64_t directory) {
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.local < b.local; });
  for (size_t i = 0; i < entries.size(); ++i) {
    const uint64_t end = i + 1 < entries.size() ? entries[i + 1].local : directory;
    if (entries[i].data + entries[i].bytes > end) {
      return absl::InvalidArgumentError(entries[i].Where() + "overlaps what follows it");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::map<std::string, ByteSpan>> ReadStoredZip(ByteSpan file) {
  ASSIGN_OR_RETURN(const Directory directory, FindDirectory(file));
  const auto records = Part(file, directory.begin, directory.bytes);
  if (!records) return Truncated("the ZIP directory");
  std::vector<Entry> entries;
  ByteSpan rest = *records;
  for (uint64_t i = 0; i < directory.num_entries; ++i) {
    ASSIGN_OR_RETURN(Entry entry, NextEntry(rest));
    RETURN_IF_ERROR(LocateData(file, entry));
    entries.push_back(std::move(entry));
  }
  if (!rest.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ZIP directory has ", rest.size(), " bytes behind its last entry"));
  }
  RETURN_IF_ERROR(CheckNoOverlap(entries, directory.begin));
  std::map<std::string, ByteSpan> spans;
  for (const Entry& entry : entries) {
    const ByteSpan data = file.subspan(entry.data, entry.bytes);
    RETURN_IF_ERROR(CheckCrc(data, entry));
    if (!spans.emplace(entry.name, data).second) {
      return absl::InvalidArgumentError(entry.Where() + "listed twice");
    }
  }
  return spans;
}

}  // namespace qc2c
