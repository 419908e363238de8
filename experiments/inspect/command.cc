#include "experiments/inspect/command.h"

#include <CLI/CLI.hpp>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/status_macros.h"
#include "common/codec/klt_codebook.h"
#include "common/serving/language_model.h"
#include "experiments/inspect/folder_reports.h"
#include "experiments/inspect/frame_file.h"
#include "experiments/inspect/frame_report.h"
#include "experiments/inspect/fuse_to_file.h"
#include "experiments/inspect/outline.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;

struct InspectFlags {
  bool json = false;
  std::string path;
  std::string codebook;
  FuseRequest fuse;
  std::string dtype = "fp32";
  std::string device = "cpu";
  std::string order = "sequential";
};

absl::StatusOr<Json> InspectFuse(InspectFlags& flags) {
  ASSIGN_OR_RETURN(flags.fuse.options.device, ParseDevice(flags.device));
  ASSIGN_OR_RETURN(flags.fuse.options.dtype, ParseModelDType(flags.dtype));
  ASSIGN_OR_RETURN(flags.fuse.order, ParseFusionOrder(flags.order));
  return FuseToFile(flags.fuse);
}

absl::StatusOr<Json> InspectFrame(const InspectFlags& flags) {
  absl::StatusOr<std::vector<std::string>> messages = ReadFrameFile(flags.path);
  if (!messages.ok()) return AsFileError(messages.status());
  std::optional<KltCodebook> codebook;
  if (!flags.codebook.empty()) {
    absl::StatusOr<KltCodebook> loaded = KltCodebook::Load(flags.codebook);
    if (!loaded.ok()) return AsFileError(loaded.status());
    codebook = *std::move(loaded);
  }
  absl::StatusOr<Json> report = ReportFrame(*messages, codebook ? &*codebook : nullptr);
  if (!report.ok()) return AsFileError(report.status());
  return report;
}

using Inspect = std::function<absl::StatusOr<Json>(InspectFlags&)>;

CLI::App* Add(CLI::App& inspect, const std::string& name, const std::string& description,
              const std::shared_ptr<InspectFlags>& flags, absl::Status* result, Inspect run) {
  CLI::App* command = inspect.add_subcommand(name, description);
  command->add_flag("--json", flags->json, "print one JSON object instead of text");
  command->callback([flags, result, run = std::move(run)] {
    const absl::StatusOr<Json> report = run(*flags);
    *result = report.status();
    if (!report.ok()) return;
    if (flags->json) {
      std::cout << report->dump(2, ' ', false, Json::error_handler_t::replace) << std::endl;
    } else {
      std::cout << Outline(*report) << std::flush;
    }
  });
  return command;
}

void AddFuseFlags(CLI::App& command, InspectFlags& flags) {
  const auto add = [&](const char* name, auto& value, const char* description) {
    return command.add_option(name, value, description)->required();
  };
  const auto every = CLI::MultiOptionPolicy::TakeAll;
  add("--receiver", flags.fuse.receiver, "the receiver's model folder");
  add("--receiver-ids", flags.fuse.receiver_ids, "JSON list of the prompt's token ids");
  add("--sharer", flags.fuse.sharers, "a sharer's model folder; once for each sharer")
      ->multi_option_policy(every);
  add("--fuser", flags.fuse.fusers, "the fuser of that sharer")->multi_option_policy(every);
  add("--sharer-ids", flags.fuse.sharer_ids, "JSON list of its ids, as long as the receiver's")
      ->multi_option_policy(every);
  add("--out", flags.fuse.out, "safetensors file to write");
  command.add_option("--order", flags.order, "of several sharers: sequential or parallel");
  command.add_option("--dtype", flags.dtype, "fp32 or bf16");
  command.add_option("--device", flags.device, "cpu or cuda[:N]");
}

}  // namespace

void AddInspectCommand(CLI::App& app, absl::Status* result) {
  CLI::App* inspect = app.add_subcommand("inspect", "Print what a model, fuser or frame holds");
  inspect->require_subcommand(1);
  const auto flags = std::make_shared<InspectFlags>();
  AddFuseFlags(*Add(*inspect, "fuse",
                    "Fuse one prompt's caches and write the result and the next token's logits",
                    flags, result, InspectFuse),
               *flags);
  Add(*inspect, "model", "Load a model folder and print its sizes and fingerprints", flags, result,
      [](const InspectFlags& f) { return ReportModel(f.path); })
      ->add_option("DIR", flags->path, "the model folder")
      ->required();
  Add(*inspect, "fuser", "Load a fuser folder and print its layer map, gates and sizes", flags,
      result, [](const InspectFlags& f) { return ReportFuser(f.path); })
      ->add_option("DIR", flags->path, "the fuser folder")
      ->required();
  CLI::App* frame =
      Add(*inspect, "frame", "Print what the messages of a share hold, and check them", flags,
          result, InspectFrame);
  frame->add_option("FILE", flags->path, "the messages, length-delimited or hexadecimal lines")
      ->required();
  frame->add_option("--codebook", flags->codebook, "of a frame of klt, to read its coefficients");
}

}  // namespace qc2c
