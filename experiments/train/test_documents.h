// Small documents and recipes for the trainer's tests.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "experiments/train/documents.h"
#include "experiments/train/recipe.h"

namespace qc2c {

// `count` documents of one kind: a prompt of two ids that tells them apart, and an answer of one.
inline std::vector<Document> NumberedDocuments(int32_t count, int32_t first_id) {
  std::vector<Document> documents;
  for (int32_t i = 0; i < count; ++i) {
    documents.push_back({{first_id + i, 1, 2}, {0.0f, 0.0f, 1.0f}, 2});
  }
  return documents;
}

inline TrainingOptions SmallOptions(std::vector<Phase> phases, int64_t batch_size) {
  TrainingOptions options;
  options.seed = 5;
  options.phases = std::move(phases);
  options.batch_size = batch_size;
  return options;
}

}  // namespace qc2c
