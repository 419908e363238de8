#include "experiments/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "experiments/json_difference.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;

std::string FirstDifference(const std::string& before, const std::string& now) {
  std::istringstream old_lines(before);
  std::istringstream new_lines(now);
  for (int number = 1;; ++number) {
    std::string old_line;
    std::string new_line;
    const bool old_more = static_cast<bool>(std::getline(old_lines, old_line));
    const bool new_more = static_cast<bool>(std::getline(new_lines, new_line));
    if (!old_more && !new_more) return "";
    if (old_line != new_line || old_more != new_more) {
      return absl::StrCat("line ", number, " was \"", old_line, "\", is now \"", new_line, "\"");
    }
  }
}

std::string Line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::Status MakeFolders(const std::filesystem::path& path) {
  for (const char* folder : {"configs", "logs", "results/predictions", "manifests"}) {
    std::error_code error;
    std::filesystem::create_directories(path / folder, error);
    if (error) {
      return absl::PermissionDeniedError(
          absl::StrCat((path / folder).string(), ": ", error.message()));
    }
  }
  return absl::OkStatus();
}

absl::Status ClaimRecipe(const std::filesystem::path& path, const std::string& recipe) {
  const std::filesystem::path file = path / "configs" / "recipe.yaml";
  if (!std::filesystem::exists(file)) return WriteFileAtomically(file, recipe);
  ASSIGN_OR_RETURN(const std::string before, ReadFile(file));
  if (before == recipe) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "run folder ", path.string(),
      " was made with another recipe: ", FirstDifference(before, recipe),
      " (configs/recipe.yaml); continue it with the ", "old settings or choose another --out"));
}

}  // namespace

absl::StatusOr<RunFolder> RunFolder::Open(const std::filesystem::path& path,
                                          const std::string& resolved_recipe) {
  RETURN_IF_ERROR(MakeFolders(path));
  const std::filesystem::path lock_file = path / "logs" / "lock";
  const int lock = open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock < 0)
    return absl::PermissionDeniedError(absl::StrCat(lock_file.string(), ": cannot open"));
  RunFolder folder(path, lock);
  if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("run folder ", path.string(), " is in use by another process"));
  }
  RETURN_IF_ERROR(ClaimRecipe(path, resolved_recipe));
  return folder;
}

RunFolder::RunFolder(RunFolder&& other) noexcept
    : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

RunFolder::~RunFolder() {
  if (lock_ >= 0) close(lock_);
}

std::filesystem::path RunFolder::Predictions(const std::string& point,
                                             const std::string& dataset) const {
  return path_ / "results" / "predictions" / absl::StrCat(point, ".", dataset, ".jsonl");
}

absl::Status RunFolder::LogCommand(const std::string& command) const {
  std::ofstream log(path_ / "logs" / "commands.log", std::ios::app);
  log << absl::FormatTime(absl::RFC3339_sec, absl::Now(), absl::UTCTimeZone()) << " " << command
      << std::endl;
  if (!log) return absl::PermissionDeniedError(absl::StrCat(path_.string(), ": cannot write logs"));
  return absl::OkStatus();
}

std::filesystem::path RunFolder::Manifest(const std::string& name) const {
  return path_ / "manifests" / (name + ".json");
}

absl::Status RunFolder::UpdateManifest(const std::string& name, const Json& content) const {
  Json updated = content;
  const std::string text = ReadFile(Manifest(name)).value_or("");
  Json before = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (before.is_object()) {
    Json earlier = Json::array();
    if (before.contains("earlier") && before["earlier"].is_array()) earlier = before["earlier"];
    before.erase("earlier");
    if (before != content) earlier.push_back(before);
    if (!earlier.empty()) updated["earlier"] = earlier;
  }
  return WriteFileAtomically(Manifest(name), updated.dump(2) + "\n");
}

absl::Status RunFolder::WriteManifestOnce(const std::string& name, const Json& content) const {
  const std::filesystem::path file = Manifest(name);
  if (!std::filesystem::exists(file)) return WriteFileAtomically(file, content.dump(2) + "\n");
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  const Json before = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!before.is_object()) {
    return absl::DataLossError(absl::StrCat(file.string(), ": not a JSON object"));
  }
  // A folder may be older than some of today's fields.
  const std::string difference = JsonDifference(before, content);
  if (difference.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("run folder ", path_.string(), " has answers of other ", name, ": ", difference,
                   " (manifests/", name, ".json); choose another --out"));
}

absl::Status RunFolder::WriteResults(const std::string& name,
                                     const std::vector<Json>& lines) const {
  std::string text;
  for (const Json& line : lines) text += Line(line);
  return WriteFileAtomically(path_ / "results" / (name + ".jsonl"), text);
}

absl::StatusOr<std::vector<Json>> ReadResults(const std::filesystem::path& folder,
                                              const std::string& name) {
  const std::filesystem::path file = folder / "results" / (name + ".jsonl");
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  std::vector<Json> rows;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    Json row = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!row.is_object()) {
      return absl::DataLossError(absl::StrCat(file.string(), ":", number, ": not a JSON object"));
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace qc2c
