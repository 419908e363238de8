// qc2c-receiver: answers questions, alone or with what a sharer handed over.
//
//   qc2c-receiver --model DIR [--fuser DIR] --sharer unix:/run/qc2c/sharer.sock
//                 --listen unix:/run/qc2c/receiver.sock [--metrics 127.0.0.1:9102]
#include <CLI/CLI.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/fuser/fuser.h"
#include "common/obs/metrics.h"
#include "common/obs/qc2c_metrics.h"
#include "common/rpc/stop_signals.h"
#include "common/serving/daemon.h"
#include "common/serving/language_model.h"
#include "receiver/model_pair.h"
#include "receiver/service.h"
#include "receiver/sharer_link.h"

namespace qc2c {
namespace {

struct ReceiverOptions {
  DaemonOptions daemon;
  std::string fuser;  // empty: none, and no fused answers
  std::string sharer;
  std::vector<std::string> calibrations;
  std::string alignment = "auto";
  int64_t sharer_patience_ms = 30000;
  int64_t sharer_timeout_ms = 30000;
  int workers = 2;
  std::vector<std::string> codebooks;  // files
};

absl::Status Run(const ReceiverOptions& options) {
  RETURN_IF_ERROR(PrepareProcess(options.daemon));
  ASSIGN_OR_RETURN(const ModelOptions model_options, options.daemon.Model());
  ASSIGN_OR_RETURN(const LanguageModel language_model,
                   LanguageModel::Load(options.daemon.model, model_options));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<SharerLink> sharer,
      SharerLink::Connect({.address = options.sharer,
                           .access = AccessOf(options.daemon),
                           .patience = std::chrono::milliseconds(options.sharer_patience_ms),
                           .timeout = std::chrono::milliseconds(options.sharer_timeout_ms),
                           .known_tokenizer = language_model.tokenizer.hash(),
                           .calibrations = options.calibrations}));
  std::optional<Fuser> fuser;
  if (!options.fuser.empty()) {
    ASSIGN_OR_RETURN(fuser, LoadFuserOfPair(options.fuser, language_model, sharer->card()));
  }
  ASSIGN_OR_RETURN(
      const AlignmentStrategy alignment,
      ChooseAlignment(options.alignment, options.fuser, language_model.Card(), sharer->card()));
  ASSIGN_OR_RETURN(const TokenPairing pairing,
                   TokenPairing::Create(language_model, sharer->card(), alignment));
  ASSIGN_OR_RETURN(
      const KltCodebooks codebooks,
      LoadCodebooksOfPair(options.codebooks, fuser ? &*fuser : nullptr, sharer->card()));
  Metrics registry;
  Qc2cMetrics metrics(registry);
  ReceiverService service(
      {language_model, fuser ? &*fuser : nullptr, pairing, *sharer, metrics, &codebooks},
      options.daemon.Limits(), options.workers);
  return Serve(options.daemon,
               {.program = "qc2c-receiver",
                .service = {v1::Receiver::service_full_name(), &service},
                .metrics = registry,
                .ready = {{"model", language_model.name},
                          {"layout", language_model.model.config().Layout().ToString()},
                          {"device", options.daemon.device},
                          {"dtype", options.daemon.dtype},
                          {"sharer", sharer->card().model()},
                          {"fuser", fuser ? HashText(fuser->fingerprint()) : "none"},
                          {"alignment", std::string(AlignmentStrategyName(alignment))},
                          {"codecs", SchemeNames()},
                          {"codebooks", codebooks.IdsText()}},
                .stop_admitting = [&] { service.StopAdmitting(); },
                .busy = [&] { return metrics.inflight.Value() > 0; }});
}

}  // namespace
}  // namespace qc2c

int main(int argc, char** argv) {
  qc2c::BlockStopSignals();
  CLI::App app("Answers questions, alone or fused with a sharer's KV cache.", "qc2c-receiver");
  qc2c::ReceiverOptions options;
  qc2c::AddDaemonFlags(app, options.daemon);
  app.add_option("--fuser", options.fuser,
                 "Fuser folder for this (sharer, receiver) pair; without one there are no fused "
                 "answers");
  app.add_option("--sharer", options.sharer, "The sharer: unix:PATH or HOST:PORT")->required();
  app.add_option("--calibration", options.calibrations,
                 "A file of the sharer's channel means for codecs with mean=calibrated (qc2c "
                 "means); repeatable");
  app.add_option("--alignment", options.alignment,
                 "How tokens of the two models are paired: same_ids, first, longest or span; auto: "
                 "as the fuser's config.json says, else same_ids for equal tokenizers and span for "
                 "others")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "same_ids", "first", "longest", "span"}));
  app.add_option("--sharer-patience-ms", options.sharer_patience_ms,
                 "Milliseconds to wait for the sharer at start")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--sharer-timeout-ms", options.sharer_timeout_ms,
                 "Milliseconds that one call to the sharer may take")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--workers", options.workers, "Batches under way at a time")
      ->capture_default_str()
      ->check(CLI::Range(1, 16));
  qc2c::AddCodebookFlag(app, options.codebooks);
  return qc2c::RunProgram(app, argc, argv, [&] { return qc2c::Run(options); });
}
