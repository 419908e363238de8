// The safetensors file format (https://github.com/huggingface/safetensors): eight bytes of header
// length, a JSON header, raw tensors. Free of torch; trusts nothing in the file.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"

namespace qc2c {

// A tensor as it lies in a file: row-major, little-endian, perhaps not aligned.
struct StoredTensor {
  std::string name;
  std::string dtype;  // F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL
  std::vector<int64_t> shape;
  ByteSpan data;  // the product of `shape` elements
};

struct SafetensorsView {
  std::vector<StoredTensor> tensors;            // in the order of their places
  std::map<std::string, std::string> metadata;  // the header's __metadata__
};

// Bytes of an element; 0 for a dtype that the format does not have.
int SafetensorsElementBytes(const std::string& dtype);

// Everything in the file that `content` holds; the result borrows from it. INVALID_ARGUMENT or
// DATA_LOSS naming `file`, the tensor and the fault: truncated or oversized header, bad JSON,
// unknown dtype, size that disagrees with the shape, offsets that overlap, leave a gap or pass the
// end.
absl::StatusOr<SafetensorsView> ViewSafetensors(ByteSpan content, const std::string& file);

// The file: the tensors in the given order, so that each is aligned if those of larger elements
// come first (Python's reader needs that). INVALID_ARGUMENT for a name that repeats.
absl::StatusOr<std::string> SerializeSafetensors(const SafetensorsView& content);

}  // namespace qc2c
