#include "experiments/downloads.h"

#include <cstdlib>

#include "absl/strings/match.h"

namespace qc2c {
namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::filesystem::path CacheFolder() {
  const std::string cache = Environment("XDG_CACHE_HOME");
  const std::filesystem::path base = cache.empty()
                                         ? std::filesystem::path(Environment("HOME")) / ".cache"
                                         : std::filesystem::path(cache);
  return base / "qc2c";
}

std::filesystem::path FolderNamedBy(const char* variable, const char* in_cache) {
  const std::string named = Environment(variable);
  return named.empty() ? CacheFolder() / in_cache : std::filesystem::path(named);
}

}  // namespace

std::filesystem::path ModelsFolder() { return FolderNamedBy("QC2C_MODELS", "models"); }

std::filesystem::path QuestionsFolder() { return FolderNamedBy("QC2C_QUESTIONS", "questions"); }

std::filesystem::path RecipePath(const std::filesystem::path& folder, const std::string& text) {
  const std::string models = "$MODELS/", questions = "$QUESTIONS/";
  if (absl::StartsWith(text, models)) return ModelsFolder() / text.substr(models.size());
  if (absl::StartsWith(text, questions)) return QuestionsFolder() / text.substr(questions.size());
  return (folder / text).lexically_normal();
}

}  // namespace qc2c
