#include "experiments/project_files.h"

#include <cstdlib>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

constexpr char kMark[] = "experiments/recipes/demo.yaml";

std::filesystem::path NearestAbove(std::filesystem::path folder) {
  while (!std::filesystem::exists(folder / kMark)) {
    if (folder == folder.parent_path()) return {};
    folder = folder.parent_path();
  }
  return folder;
}

}  // namespace

std::filesystem::path ProgramFolder() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
}

absl::StatusOr<std::filesystem::path> ProjectFolder() {
  if (const char* root = std::getenv("QC2C_ROOT"); root != nullptr && *root != '\0') {
    if (std::filesystem::exists(std::filesystem::path(root) / kMark)) return root;
    return absl::NotFoundError(absl::StrCat("QC2C_ROOT is ", root, ", which has no ", kMark));
  }
  std::error_code error;
  const std::filesystem::path here = std::filesystem::current_path(error);
  for (const std::filesystem::path& start : {ProgramFolder(), here}) {
    const std::filesystem::path found = NearestAbove(start);
    if (!found.empty()) return found;
  }
  return absl::NotFoundError(absl::StrCat(kMark, " is in no folder above ",
                                          ProgramFolder().string(), " or ", here.string(),
                                          "; set QC2C_ROOT to the project's folder"));
}

absl::StatusOr<std::filesystem::path> PromptFormatPath(const std::string& name) {
  if (name.find_first_of("/.") != std::string::npos) return name;
  ASSIGN_OR_RETURN(const std::filesystem::path root, ProjectFolder());
  return root / "experiments" / "prompts" / (name + ".yaml");
}

}  // namespace qc2c
