// Training documents: JSON lines {"kind": "mc", "segments": [[[ids...], weight], ...]}, as
// experiments/embedded_pair/world.py writes them. For a fuser between models that read different
// tokens (experiments/real_pair/documents.py) a line also has
//   "sharer": {"ids": [...], "tokens": [...]}
// the sharer's own tokens of the prompt, and for each fused receiver token the index of the sharer
// token that it takes. Where the answer is one of several texts, the segments are the prompt alone,
// of weight 0, and a line has
//   "options": [[ids...], ...], "answer": 1
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
  int64_t prompt_length = 0;   // ids before the first one with a positive weight; all with options
  // Both empty: the sharer reads the same ids.
  std::vector<int32_t> sharer_ids;
  std::vector<int32_t> sharer_tokens;  // one a fused token, each an index into sharer_ids
  // What may follow the prompt, if the answer is chosen among texts; `answer` is the right one.
  std::vector<std::vector<int32_t>> options;
  int32_t answer = 0;

  // The prompt without its last token, which a fuser does not touch.
  std::vector<int32_t> FusedPrompt() const {
    return {ids.begin(), ids.begin() + prompt_length - 1};
  }
  // The last prompt token and the answer: what runs on top of a fused cache.
  std::vector<int32_t> Tail() const { return {ids.begin() + prompt_length - 1, ids.end()}; }
};

// Documents by kind, each kind in the order of the file.
using DocumentPools = std::map<std::string, std::vector<Document>>;

struct VocabSizes {
  int32_t model;       // of `segments`: the model that is trained, or the receiver
  int32_t sharer = 0;  // of `sharer`; 0: there is no sharer, and such a field is refused
};

// INVALID_ARGUMENT naming file, line and field for anything but such lines: an id outside its
// vocabulary, a negative weight, a document in which nothing is to be predicted, or sharer tokens
// that do not fit the prompt. The first token cannot be predicted; its weight is set to 0.
absl::StatusOr<DocumentPools> ReadDocuments(const std::filesystem::path& path, VocabSizes vocab);

}  // namespace qc2c
