#include "experiments/fetch.h"

#include "common/base/status_macros.h"
#include "experiments/child_process.h"
#include "experiments/project_files.h"
#include "experiments/stop_signal.h"

namespace qc2c {

absl::StatusOr<int> Fetch(const FetchOptions& options) {
  ASSIGN_OR_RETURN(const std::filesystem::path root, ProjectFolder());
  std::vector<std::string> command = {options.python,
                                      (root / "experiments" / "fetch" / "fetch.py").string(),
                                      "--source", options.source};
  if (!options.out.empty()) command.insert(command.end(), {"--out", options.out});
  if (!options.registry.empty()) command.insert(command.end(), {"--registry", options.registry});
  if (options.list) command.emplace_back("--list");
  if (options.keep_gguf) command.emplace_back("--keep-gguf");
  command.emplace_back("--");
  command.insert(command.end(), options.names.begin(), options.names.end());
  ASSIGN_OR_RETURN(ChildProcess fetch, ChildProcess::Start(command, ""));
  return fetch.Wait(StopRequested);
}

}  // namespace qc2c
