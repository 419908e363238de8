// Where `qc2c fetch` puts models and questions.
#pragma once

#include <filesystem>
#include <string>

namespace qc2c {

// $QC2C_MODELS, or models in the cache folder ($XDG_CACHE_HOME/qc2c, ~/.cache/qc2c).
std::filesystem::path ModelsFolder();
// $QC2C_QUESTIONS, or questions in the cache folder.
std::filesystem::path QuestionsFolder();

// A path as a recipe spells it: "$MODELS/..." and "$QUESTIONS/..." lie in the folders above, all
// others in `folder`, the recipe's own.
std::filesystem::path RecipePath(const std::filesystem::path& folder, const std::string& text);

}  // namespace qc2c
