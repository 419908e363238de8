#include "common/wire/field_reader.h"

#include <limits>

#include "absl/strings/str_cat.h"

namespace qc2c {
namespace {

constexpr uint32_t kVarintType = 0;
constexpr uint32_t kFixed64Type = 1;
constexpr uint32_t kDelimitedType = 2;

}  // namespace

uint32_t FieldReader::Uint32(uint32_t number) {
  if (!TakeTag(number, kVarintType)) return 0;
  const std::optional<uint64_t> value = Varint();
  if (!value.has_value()) return 0;
  if (*value == 0 || *value > std::numeric_limits<uint32_t>::max()) {
    Fail(absl::StrCat("field ", number, " is ", *value, ": expected 1 to 2^32 - 1, or no field"));
    return 0;
  }
  return static_cast<uint32_t>(*value);
}

uint64_t FieldReader::Fixed64(uint32_t number) {
  if (!TakeTag(number, kFixed64Type)) return 0;
  uint64_t value = 0;
  if (bytes_.size() - offset_ < sizeof(value)) {
    Fail(absl::StrCat("field ", number, " has ", bytes_.size() - offset_, " bytes: expected 8"));
    return 0;
  }
  for (size_t i = 0; i < sizeof(value); ++i) {
    value |= static_cast<uint64_t>(bytes_[offset_++]) << (8 * i);
  }
  if (value == 0) Fail(absl::StrCat("field ", number, " is 0: expected no field"));
  return value;
}

std::optional<ByteSpan> FieldReader::Delimited(uint32_t number) {
  if (!TakeTag(number, kDelimitedType)) return std::nullopt;
  const std::optional<uint64_t> length = Varint();
  if (!length.has_value()) return std::nullopt;
  const size_t left = bytes_.size() - offset_;
  if (*length == 0 || *length > left) {
    Fail(absl::StrCat("field ", number, " has ", *length, " bytes: expected 1 to ", left,
                      ", the rest of the message"));
    return std::nullopt;
  }
  const ByteSpan field = bytes_.subspan(offset_, *length);
  offset_ += *length;
  return field;
}

absl::Status FieldReader::Finish() const {
  if (!status_.ok() || offset_ == bytes_.size()) return status_;
  return absl::InvalidArgumentError(absl::StrCat(
      name_, ": a field at byte ", offset_,
      " is unknown, repeated, out of order or of the wrong type (tag byte ", bytes_[offset_], ")"));
}

bool FieldReader::TakeTag(uint32_t number, uint32_t wire_type) {
  // All field numbers of this format are below 2^11, so that a tag is one byte or two.
  if (!status_.ok()) return false;
  const uint32_t tag = number << 3 | wire_type;
  const size_t size = tag < 0x80 ? 1 : 2;
  if (bytes_.size() - offset_ < size) return false;
  const uint32_t low = size == 1 ? tag : (tag & 0x7f) | 0x80;
  if (bytes_[offset_] != low || (size == 2 && bytes_[offset_ + 1] != tag >> 7)) return false;
  offset_ += size;
  return true;
}

std::optional<uint64_t> FieldReader::Varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && offset_ < bytes_.size(); shift += 7) {
    const uint8_t byte = bytes_[offset_++];
    // The tenth byte holds one bit, and a last byte of 0 could have been left out.
    if ((shift == 63 && byte > 1) || (shift > 0 && byte == 0)) break;
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  Fail("a varint is truncated, longer than necessary or above 64 bits");
  return std::nullopt;
}

void FieldReader::Fail(const std::string& message) {
  status_ = absl::InvalidArgumentError(absl::StrCat(name_, ": ", message, " (byte ", offset_, ")"));
}

}  // namespace qc2c
