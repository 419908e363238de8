#include "experiments/calibrate/command.h"

#include <array>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/model/key_rotation.h"
#include "common/model/torch_status.h"
#include "common/serving/language_model.h"
#include "common/text/text_files.h"
#include "experiments/calibrate/calibration_caches.h"
#include "experiments/calibrate/codebook_builder.h"
#include "experiments/calibrate/level_report.h"
#include "experiments/project_files.h"
#include "experiments/run_progress.h"
#include "receiver/cache_assembly.h"
#include "receiver/model_pair.h"

namespace qc2c {
namespace {

struct CalibrateFlags {
  std::string sharer, receiver, fuser, questions, out;
  std::string format = "embedded_mc";
  std::string alignment = "auto";
  std::string device = "cpu";
  std::string dtype = "fp32";
  std::string metric = "fuser";
  double ridge = 0.1;
  uint64_t limit = 450;
  uint64_t held_out = 16;
};

// What the sharer's daemon would say of itself, text files included.
absl::StatusOr<v1::ModelCard> CardOf(const LanguageModel& sharer) {
  v1::ModelCard card = sharer.Card();
  ASSIGN_OR_RETURN(TextFiles files, TextFiles::Load(sharer.folder));
  card.set_tokenizer_json(std::move(files.tokenizer_json));
  card.set_tokenizer_config_json(std::move(files.tokenizer_config_json));
  card.set_special_tokens_map_json(std::move(files.special_tokens_map_json));
  card.set_chat_template_jinja(std::move(files.chat_template_jinja));
  return card;
}

struct LoadedPair {
  LanguageModel receiver;
  LanguageModel sharer;
  Fuser fuser;  // in fp32, on the sharer's device
  AlignmentStrategy alignment;
  v1::ModelCard sharer_card;
};

absl::StatusOr<LoadedPair> LoadPair(const CalibrateFlags& flags) {
  ModelOptions options;
  ASSIGN_OR_RETURN(options.device, ParseDevice(flags.device));
  ASSIGN_OR_RETURN(options.dtype, ParseModelDType(flags.dtype));
  ASSIGN_OR_RETURN(LanguageModel sharer, LanguageModel::Load(flags.sharer, options));
  ASSIGN_OR_RETURN(v1::ModelCard card, CardOf(sharer));
  // The receiver's weights are needed for the metric `answer` alone.
  options.dtype = at::kFloat;
  ASSIGN_OR_RETURN(LanguageModel receiver, LanguageModel::Load(flags.receiver, options));
  ASSIGN_OR_RETURN(Fuser fuser, LoadFuserOfPair(flags.fuser, receiver, card));
  ASSIGN_OR_RETURN(const AlignmentStrategy alignment,
                   ChooseAlignment(flags.alignment, flags.fuser, receiver.Card(), card));
  return LoadedPair{std::move(receiver), std::move(sharer), std::move(fuser), alignment,
                    std::move(card)};
}

absl::StatusOr<std::vector<CalibrationPrompt>> RenderPrompts(const CalibrateFlags& flags,
                                                             const LoadedPair& pair) {
  ASSIGN_OR_RETURN(const std::vector<Question> questions,
                   LoadQuestions(flags.questions, flags.limit + flags.held_out));
  ASSIGN_OR_RETURN(const std::filesystem::path path, PromptFormatPath(flags.format));
  ASSIGN_OR_RETURN(const PromptFormat format, PromptFormat::Load(path));
  ASSIGN_OR_RETURN(const TokenPairing pairing,
                   TokenPairing::Create(pair.receiver, pair.sharer_card, pair.alignment));
  std::vector<CalibrationPrompt> prompts;
  for (const Question& question : questions) {
    absl::StatusOr<CalibrationPrompt> prompt =
        RenderPrompt(question, format, pair.receiver, pairing);
    if (!prompt.ok()) {
      return absl::Status(
          prompt.status().code(),
          absl::StrCat("question \"", question.id, "\": ", std::string(prompt.status().message())));
    }
    prompts.push_back(*std::move(prompt));
  }
  return prompts;
}

template <typename T>
std::vector<T> TakeFrom(std::vector<T>& all, size_t begin) {
  std::vector<T> taken(std::make_move_iterator(all.begin() + begin),
                       std::make_move_iterator(all.end()));
  all.resize(begin);
  return taken;
}

absl::Status Calibrate(const CalibrateFlags& flags) {
  ASSIGN_OR_RETURN(const LoadedPair pair, LoadPair(flags));
  const KvLayerSet layers = LayersRead(pair.fuser);
  if (layers.NumTensors() == 0) {
    return absl::FailedPreconditionError("every gate of the fuser is closed: nothing to calibrate");
  }
  ASSIGN_OR_RETURN(std::vector<CalibrationPrompt> prompts, RenderPrompts(flags, pair));
  RunProgress progress(prompts.size(), 0, stderr);
  progress.StartPoint("prefill", prompts.size(), 0);
  ASSIGN_OR_RETURN(
      std::vector<CalibrationCache> caches,
      PrefillPrompts(pair.sharer.model, prompts, layers, [&] { progress.Answered(); }));
  progress.Pause();
  const size_t num_fitted = prompts.size() - std::min<size_t>(flags.held_out, prompts.size() / 4);
  const std::vector<CalibrationPrompt> held_out = TakeFrom(prompts, num_fitted);
  const std::vector<CalibrationCache> held_out_caches = TakeFrom(caches, num_fitted);

  const KeyRotation rotation = KeyRotationOf(pair.sharer.model.config());
  std::vector<AnswerGradients> gradients;
  if (flags.metric == "answer") {
    RunProgress backward(prompts.size(), 0, stderr);
    backward.StartPoint("gradients", prompts.size(), 0);
    ASSIGN_OR_RETURN(gradients,
                     GradientsOfAnswers(pair.receiver.model, pair.fuser, layers, rotation, prompts,
                                        caches, [&] { backward.Answered(); }));
    backward.Pause();
  }
  const CalibrationInput input{.prompts = prompts,
                               .caches = caches,
                               .fuser = pair.fuser,
                               .sharer_model = pair.sharer.name,
                               .sharer_fingerprint = pair.sharer.model.fingerprint(),
                               .layout = pair.sharer.model.config().Layout(),
                               .layers = layers,
                               .rotation = rotation,
                               .gradients = gradients.empty() ? nullptr : &gradients,
                               .ridge = flags.ridge,
                               .questions = std::filesystem::path(flags.questions).filename()};
  ASSIGN_OR_RETURN(const BuiltCodebook built, BuildCodebook(input, flags.out));
  const KltCodebook& codebook = built.codebook;
  ASSIGN_OR_RETURN(const std::vector<LevelRow> rows,
                   MeasureLevels(codebook, built.metrics, held_out, held_out_caches));
  const KltTemplate& common = codebook.prompt_template;
  std::cout << LevelTable(codebook, rows) << "\nbytes, error: of whole messages and behind the "
            << "fuser's first matrix, on " << held_out.size() << " prompts beside the "
            << prompts.size() << " of the calibration\nprefix " << common.num_prefix()
            << " tokens, tail " << common.num_tail() << ", components keys "
            << codebook.middle[0].size() << " + " << codebook.tail[0].size() << ", values "
            << codebook.middle[1].size() << " + " << codebook.tail[1].size() << ", joint "
            << codebook.joint.size() << "\ncodebook " << HashText(codebook.id) << "  " << flags.out
            << std::endl;
  return absl::OkStatus();
}

}  // namespace

void AddCalibrateCommand(CLI::App& app, absl::Status* result) {
  CLI::App* command = app.add_subcommand(
      "calibrate", "Make the codebook of the scheme klt for a sharer, a receiver and their fuser");
  const auto flags = std::make_shared<CalibrateFlags>();
  command->add_option("--sharer", flags->sharer, "the sharer's model folder")->required();
  command->add_option("--receiver", flags->receiver, "the receiver's model folder")->required();
  command->add_option("--fuser", flags->fuser, "the pair's fuser folder")->required();
  command->add_option("--questions", flags->questions, "a JSONL file of questions")->required();
  command->add_option("--prompt-format", flags->format,
                      "a name in experiments/prompts or a file: as the questions will be asked");
  command->add_option("--alignment", flags->alignment, "as the receiver's flag of that name");
  command->add_option("--limit", flags->limit, "prompts to calibrate with")
      ->check(CLI::Range(16, 1 << 16));
  command
      ->add_option("--held-out", flags->held_out,
                   "prompts behind them to measure the levels with; at most a quarter of all")
      ->check(CLI::Range(1, 1 << 12));
  command->add_option("--device", flags->device, "cpu or cuda[:N]");
  command->add_option("--dtype", flags->dtype, "of the sharer: fp32 or bf16, as it will be served");
  command
      ->add_option("--metric", flags->metric,
                   "what errors are weighed by: fuser, its first matrices; or answer, the Fisher "
                   "information of the receiver's next token through the fuser")
      ->check(CLI::IsMember({"fuser", "answer"}));
  command
      ->add_option("--ridge", flags->ridge, "of answer: the share of the fuser's metric beside it")
      ->check(CLI::Range(0.0, 1e6));
  command->add_option("--out", flags->out, "the codebook's file")->required();
  command->callback([flags, result] { *result = CatchTorch([&] { return Calibrate(*flags); }); });
}

}  // namespace qc2c
