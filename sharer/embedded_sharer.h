// For tests: the embedded sharer's model.
#pragma once

#include "absl/status/statusor.h"
#include "common/serving/language_model.h"

namespace qc2c {

// Loaded once a process.
inline const LanguageModel& EmbeddedSharer() {
  static const auto* model = new absl::StatusOr<LanguageModel>(
      LanguageModel::Load(QC2C_SOURCE_DIR "/data/embedded/sharer-qwen2", ModelOptions{}));
  return model->value();
}

}  // namespace qc2c
