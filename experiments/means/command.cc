#include "experiments/means/command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/model/torch_status.h"
#include "common/serving/channel_means_file.h"
#include "common/serving/language_model.h"
#include "experiments/means/channel_sums.h"
#include "experiments/prompt_format.h"
#include "experiments/question.h"

namespace qc2c {
namespace {

struct MeansFlags {
  std::string model;
  std::string questions;
  std::string prompt;
  std::string out;
  std::string device = "cpu";
  std::string dtype = "fp32";
  uint64_t limit = 256;
};

constexpr size_t kBatch = 16;

absl::Status WriteMeans(const MeansFlags& flags) {
  ModelOptions options;
  ASSIGN_OR_RETURN(options.device, ParseDevice(flags.device));
  ASSIGN_OR_RETURN(options.dtype, ParseModelDType(flags.dtype));
  ASSIGN_OR_RETURN(const std::vector<Question> questions,
                   LoadQuestions(flags.questions, flags.limit));
  ASSIGN_OR_RETURN(const PromptFormat format, PromptFormat::Load(flags.prompt));
  ASSIGN_OR_RETURN(const LanguageModel model, LanguageModel::Load(flags.model, options));
  ChannelSums sums(model.model);
  for (size_t first = 0; first < questions.size(); first += kBatch) {
    std::vector<std::vector<int32_t>> prompts;
    for (size_t i = first; i < std::min(first + kBatch, questions.size()); ++i) {
      ASSIGN_OR_RETURN(std::vector<int32_t> ids, model.Tokenize(format.PromptFor(questions[i]), 0));
      prompts.push_back(std::move(ids));
    }
    RETURN_IF_ERROR(sums.Add(prompts));
  }
  const uint64_t fingerprint = model.model.fingerprint();
  RETURN_IF_ERROR(SaveChannelMeans(flags.out, fingerprint, sums.Means()));
  ASSIGN_OR_RETURN(const ChannelMeans written,
                   LoadChannelMeans(flags.out, fingerprint, model.model.config().Layout()));
  std::cout << flags.out << ": means of " << sums.num_tokens() << " tokens of " << questions.size()
            << " prompts\nrotation=remove,mean=calibrated,calibration=" << HashText(written.id)
            << std::endl;
  return absl::OkStatus();
}

}  // namespace

void AddMeansCommand(CLI::App& app, absl::Status* result) {
  CLI::App* command = app.add_subcommand(
      "means", "Write the channel means that the codec's mean=calibrated takes off");
  const auto flags = std::make_shared<MeansFlags>();
  const auto require = [&](const char* name, std::string& value, const char* description) {
    command->add_option(name, value, description)->required();
  };
  require("--model", flags->model, "the sharer's model folder");
  require("--questions", flags->questions, "questions to prompt it with, JSONL");
  require("--prompt", flags->prompt, "the prompt format, YAML");
  require("--out", flags->out, "safetensors file to write");
  command->add_option("--limit", flags->limit, "questions to use; 0: all of them");
  command->add_option("--device", flags->device, "cpu or cuda[:N]");
  command->add_option("--dtype", flags->dtype, "fp32 or bf16, as the sharer will run");
  command->callback([flags, result] { *result = CatchTorch([&] { return WriteMeans(*flags); }); });
}

}  // namespace qc2c
