#include "common/text/text_files.h"

#include <system_error>
#include <utility>

#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace qc2c {

absl::StatusOr<TextFiles> TextFiles::Load(const std::filesystem::path& folder) {
  TextFiles files{.origin = folder.string()};
  const std::pair<const char*, std::string*> known[] = {
      {"tokenizer.json", &files.tokenizer_json},
      {"tokenizer_config.json", &files.tokenizer_config_json},
      {"special_tokens_map.json", &files.special_tokens_map_json},
      {"chat_template.jinja", &files.chat_template_jinja},
  };
  for (const auto& [name, content] : known) {
    std::error_code error;
    if (!std::filesystem::exists(folder / name, error) && !error) continue;
    ASSIGN_OR_RETURN(*content, ReadFile(folder / name));
  }
  return files;
}

std::string TextFiles::PathOf(const std::string& file) const {
  return (std::filesystem::path(origin) / file).string();
}

}  // namespace qc2c
