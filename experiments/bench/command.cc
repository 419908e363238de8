#include "experiments/bench/command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/model/key_rotation.h"
#include "common/model/projection_biases.h"
#include "common/model/torch_status.h"
#include "common/serving/channel_means_file.h"
#include "experiments/bench/codec_report.h"
#include "experiments/bench/question_caches.h"
#include "experiments/commands.h"
#include "experiments/project_files.h"
#include "experiments/stop_signal.h"

namespace qc2c {
namespace {

struct CodecFlags {
  std::string model;
  std::string dtype = "fp32";
  std::string questions;
  std::string format;
  uint64_t limit = 64;
  std::vector<std::string> codecs;
  std::vector<std::string> calibrations;
  bool markdown = false;
  std::string out;
};

absl::StatusOr<std::vector<CodecResult>> ResultsFor(const std::vector<std::string>& texts) {
  std::vector<CodecSpec> codecs;
  for (const std::string& text : texts) {
    ASSIGN_OR_RETURN(const CodecSpec codec, CodecSpec::Parse(text));
    codecs.push_back(codec);
  }
  if (codecs.empty()) codecs = AllCodecs();
  std::vector<CodecResult> results;
  for (const CodecSpec& codec : codecs) {
    CodecMeasurement sums;
    sums.codec = codec;
    results.push_back({sums, absl::OkStatus()});
  }
  return results;
}

absl::StatusOr<PromptFormat> FormatFor(const std::string& name, const Question& first) {
  const std::string fallback = first.is_open() ? "embedded_open" : "embedded_mc";
  ASSIGN_OR_RETURN(const auto path, PromptFormatPath(name.empty() ? fallback : name));
  return PromptFormat::Load(path);
}

absl::StatusOr<ModelFacts> FactsOf(const LanguageModel& model,
                                   const std::vector<std::string>& calibrations) {
  const ModelConfig& config = model.model.config();
  ModelFacts facts = {.rotation = KeyRotationOf(config),
                      .biases = ProjectionBiasesOf(model.model),
                      .calibrations = {}};
  ASSIGN_OR_RETURN(facts.calibrations,
                   LoadChannelMeansFiles(calibrations, model.model.fingerprint(), config.Layout()));
  return facts;
}

absl::Status WriteJsonLines(const std::string& path, const std::vector<CodecResult>& results) {
  std::string lines;
  for (const CodecResult& result : results) absl::StrAppend(&lines, CodecJson(result).dump(), "\n");
  return WriteFileAtomically(path, lines);
}

absl::Status BenchCodec(CodecFlags flags) {
  ASSIGN_OR_RETURN(std::vector<CodecResult> results, ResultsFor(flags.codecs));
  if (flags.model.empty() || flags.questions.empty()) {
    ASSIGN_OR_RETURN(const auto project, ProjectFolder());
    const auto embedded = project / "data/embedded";
    if (flags.model.empty()) flags.model = embedded / "sharer-qwen2";
    if (flags.questions.empty()) flags.questions = embedded / "questions/heldout_mc.jsonl";
  }
  ModelOptions options;
  ASSIGN_OR_RETURN(options.dtype, ParseModelDType(flags.dtype));
  ASSIGN_OR_RETURN(const std::vector<Question> questions,
                   LoadQuestions(flags.questions, flags.limit));
  ASSIGN_OR_RETURN(const PromptFormat format, FormatFor(flags.format, questions.front()));
  ASSIGN_OR_RETURN(const LanguageModel model, LanguageModel::Load(flags.model, options));
  ASSIGN_OR_RETURN(const ModelFacts facts, FactsOf(model, flags.calibrations));
  int64_t num_tokens = 0;
  RETURN_IF_ERROR(VisitCaches(model, format, questions, [&](const KvCacheView& cache) {
    num_tokens += cache.num_tokens;
    for (CodecResult& result : results) {
      if (StopRequested()) return absl::CancelledError("stopped");
      if (result.refused.ok()) result.refused = MeasureCodec(cache, result.sums, {&facts, {}});
    }
    return absl::OkStatus();
  }));
  std::cout << model.name << " " << model.model.config().Layout().ToString() << ", " << flags.dtype
            << ", " << questions.size() << " prompts, "
            << num_tokens / static_cast<int64_t>(questions.size()) << " tokens each on average\n\n";
  const TextTable table = CodecTable(results);
  std::cout << (flags.markdown ? table.Markdown() : table.Terminal()) << std::flush;
  for (const CodecResult& result : results) {
    if (result.refused.ok()) continue;
    std::cout << result.sums.codec.ToString() << ": " << result.refused.message() << "\n";
  }
  return flags.out.empty() ? absl::OkStatus() : WriteJsonLines(flags.out, results);
}

}  // namespace

void AddBenchCommand(CLI::App& app) {
  CLI::App* bench = app.add_subcommand("bench", "Measure without daemons");
  bench->require_subcommand(1);
  CLI::App* command = bench->add_subcommand(
      "codec", "Bits a value, errors and times of codecs on a model's own caches");
  const auto flags = std::make_shared<CodecFlags>();
  command->add_option("--model", flags->model, "a model folder; default: the embedded sharer");
  command->add_option("--dtype", flags->dtype, "fp32 or bf16");
  command->add_option("--questions", flags->questions,
                      "a JSONL file of questions; default: the embedded held-out ones");
  command->add_option("--prompt-format", flags->format,
                      "a name in experiments/prompts or a file; default: embedded_mc or, for open "
                      "questions, embedded_open");
  command->add_option("--limit", flags->limit, "only the first so many questions; 0: all");
  command
      ->add_option("--codec", flags->codecs,
                   "once for each codec; default: every scheme and axis, with every entropy coder")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command
      ->add_option("--calibration", flags->calibrations,
                   "a file of channel means for codecs with mean=calibrated; repeatable")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_flag("--markdown", flags->markdown, "print the table as Markdown");
  command->add_option("--out", flags->out, "a file for JSON lines, an object a codec");
  command->callback(
      [flags] { ExitUnlessOk("bench codec", CatchTorch([&] { return BenchCodec(*flags); })); });
}

}  // namespace qc2c
