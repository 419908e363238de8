// The files of a model folder that say how its model reads text, as they lie there or as they came
// over the wire.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"

namespace qc2c {

// Contents; one that is empty does not exist.
struct TextFiles {
  std::string origin;  // the folder, or what stands for it in messages ("the sharer")
  std::string tokenizer_json;
  std::string tokenizer_config_json;    // special tokens, older chat templates
  std::string special_tokens_map_json;  // special tokens of older folders
  std::string chat_template_jinja;

  // Whatever exists of them; DATA_LOSS, naming the file, if one cannot be read.
  static absl::StatusOr<TextFiles> Load(const std::filesystem::path& folder);

  // "origin/file", for messages.
  std::string PathOf(const std::string& file) const;
};

}  // namespace qc2c
