#include "experiments/train/sensitivity_command.h"

#include <map>
#include <memory>
#include <string>

#include "experiments/train/sensitivity.h"

namespace qc2c {

void AddSensitivityCommand(CLI::App& app, absl::Status* result) {
  auto request = std::make_shared<SensitivityRequest>();
  CLI::App* command = app.add_subcommand(
      "sensitivity", "Measure how much the answers suffer from each quantized tensor");
  command->add_option("--receiver", request->receiver, "Model folder of the receiver")->required();
  command->add_option("--sharer", request->sharer, "Model folder of the sharer")->required();
  command->add_option("--fuser", request->fuser, "Fuser folder")->required();
  command
      ->add_option("--documents", request->documents,
                   "Questions with answers, as training documents (JSON lines)")
      ->required();
  command->add_option("--out", request->out, "File to write (JSON)")->required();
  command
      ->add_option("--schemes", request->schemes,
                   "Codecs that each tensor is put through, separated by spaces; none: not sent")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--limit", request->limit, "Documents of each kind; 0: all");
  command->add_option("--batch-size", request->batch_size, "Documents at a time")
      ->check(CLI::Range(1, 4096));
  command->add_option("--threads", request->threads, "CPU threads")->check(CLI::Range(1, 1024));
  command->add_option("--device", request->device, "cpu or cuda");
  command->add_option("--dtype", request->dtype, "fp32 or bf16")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, at::ScalarType>{{"fp32", at::kFloat}, {"bf16", at::kBFloat16}}));
  command->callback([request, result] { *result = MeasureSensitivity(*request); });
}

}  // namespace qc2c
