// Reads one serialized protobuf message in place, and accepts only its canonical form: known fields
// in ascending order, each once, varints of the least length, no field that has its default value.
//
// Why not the generated parser: it copies every block before anything is checked, builds objects
// for as many fields as the peer cares to name, and accepts many spellings of one message. Here a
// message has one spelling, reading allocates nothing, and a block's bytes are copied once, to
// their final place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "common/base/bytes.h"

namespace qc2c {

// Ask for the fields in ascending order of their numbers, then call Finish. The first violation
// sticks: everything after it reads as absent, and Finish reports it as INVALID_ARGUMENT with the
// field and the byte offset.
class FieldReader {
 public:
  // Borrows `message`. `name` begins every error.
  FieldReader(ByteSpan message, std::string name) : bytes_(message), name_(std::move(name)) {}

  // A varint field of 32 bits; 0 if it is absent.
  uint32_t Uint32(uint32_t number);
  // A fixed64 field; 0 if it is absent.
  uint64_t Fixed64(uint32_t number);
  // A length-delimited field (bytes or a message), borrowed; nothing if it is absent.
  std::optional<ByteSpan> Delimited(uint32_t number);
  // Where the next field begins, in bytes from the start of the message.
  size_t offset() const { return offset_; }
  // OK if every byte has been read without a violation.
  absl::Status Finish() const;

 private:
  // Consumes the tag of field `number` if it is next.
  bool TakeTag(uint32_t number, uint32_t wire_type);
  std::optional<uint64_t> Varint();
  void Fail(const std::string& message);

  ByteSpan bytes_;
  std::string name_;
  size_t offset_ = 0;
  absl::Status status_;
};

}  // namespace qc2c
