// Training documents: JSON lines {"kind": "mc", "segments": [[[ids...], weight], ...]}, as
// experiments/embedded_pair/world.py writes them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace qc2c {

struct Document {
  std::vector<int32_t> ids;
  std::vector<float> weights;  // one an id: the loss weight of predicting it, >= 0
  int64_t prompt_length = 0;   // ids before the first one with a positive weight

  // The prompt without its last token, which a fuser does not touch.
  std::vector<int32_t> FusedPrompt() const {
    return {ids.begin(), ids.begin() + prompt_length - 1};
  }
  // The last prompt token and the answer: what runs on top of a fused cache.
  std::vector<int32_t> Tail() const { return {ids.begin() + prompt_length - 1, ids.end()}; }
};

// Documents by kind, each kind in the order of the file.
using DocumentPools = std::map<std::string, std::vector<Document>>;

// INVALID_ARGUMENT naming file, line and field for anything but such lines: an id outside
// 0 .. vocab_size - 1, a negative weight, or a document in which nothing is to be predicted. The
// first token cannot be predicted; its weight is set to 0.
absl::StatusOr<DocumentPools> ReadDocuments(const std::filesystem::path& path, int32_t vocab_size);

}  // namespace qc2c
