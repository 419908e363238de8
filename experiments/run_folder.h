// A run folder: {configs,logs,results,manifests}. Everything that a run leaves behind, and what it
// needs to continue.
//   configs/recipe.yaml                            the resolved recipe
//   logs/commands.log                              every command that worked here
//   manifests/NAME.json                            code, machine, models
//   results/points.jsonl                           complete points; incomplete.jsonl: the others
//   results/predictions/POINT.DATASET.jsonl        every answer
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace qc2c {

// Move-only; holds the folder's lock until destroyed.
class RunFolder {
 public:
  // Creates or continues. FAILED_PRECONDITION if the folder was made with another recipe (naming
  // the first line that differs) or another process works in it.
  static absl::StatusOr<RunFolder> Open(const std::filesystem::path& path,
                                        const std::string& resolved_recipe);
  RunFolder(RunFolder&& other) noexcept;
  RunFolder& operator=(RunFolder&&) = delete;
  ~RunFolder();

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path Logs() const { return path_ / "logs"; }
  std::filesystem::path Predictions(const std::string& point, const std::string& dataset) const;

  absl::Status LogCommand(const std::string& command) const;
  // Replaces manifests/NAME.json. What it was before, if that is something else, is added to its
  // list "earlier".
  absl::Status UpdateManifest(const std::string& name, const nlohmann::ordered_json& content) const;
  // Writes manifests/NAME.json if it is not there. FAILED_PRECONDITION if it is, and one of its
  // fields has another value now: answers of two models do not belong into one point.
  absl::Status WriteManifestOnce(const std::string& name,
                                 const nlohmann::ordered_json& content) const;
  // Replaces results/NAME.jsonl, a line an element.
  absl::Status WriteResults(const std::string& name,
                            const std::vector<nlohmann::ordered_json>& lines) const;

 private:
  RunFolder(std::filesystem::path path, int lock) : path_(std::move(path)), lock_(lock) {}
  std::filesystem::path Manifest(const std::string& name) const;

  std::filesystem::path path_;
  int lock_;  // file descriptor
};

// results/points.jsonl of a run folder that somebody else may be writing. NOT_FOUND, or DATA_LOSS
// naming the line.
absl::StatusOr<std::vector<nlohmann::ordered_json>> ReadResults(const std::filesystem::path& folder,
                                                                const std::string& name);

}  // namespace qc2c
