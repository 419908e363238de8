// qc2c-sharer: reads prompts and hands over what it understood, as a KV cache or as text.
//
//   qc2c-sharer --model DIR --listen unix:/run/qc2c/sharer.sock [--metrics 127.0.0.1:9101]
#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/codec/klt_codebooks.h"
#include "common/codec/scheme_registry.h"
#include "common/obs/metrics.h"
#include "common/obs/qc2c_metrics.h"
#include "common/rpc/stop_signals.h"
#include "common/serving/channel_means_file.h"
#include "common/serving/daemon.h"
#include "common/serving/language_model.h"
#include "common/serving/sensitivity_file.h"
#include "sharer/held_receiver.h"
#include "sharer/service.h"

namespace qc2c {
namespace {

absl::StatusOr<WeightsById> LoadWeights(const std::vector<std::string>& files, const Model& model) {
  WeightsById weights;
  for (const std::string& path : files) {
    ASSIGN_OR_RETURN(SensitivityFile file,
                     SensitivityFile::Load(path, model.config().Layout(), model.fingerprint()));
    weights[file.id] = std::move(file.weights);
  }
  return weights;
}

std::string IdsOf(const WeightsById& weights) {
  std::string ids;
  for (const auto& [id, of_tensors] : weights) ids += (ids.empty() ? "" : ",") + HashText(id);
  return ids;
}

// Files that codecs name by their hash.
struct CodecFiles {
  std::vector<std::string> sensitivity;
  std::vector<std::string> calibration;
  std::vector<std::string> codebooks;
  std::string receiver;
  std::string fuser;
};

// Null without the flags.
absl::StatusOr<std::shared_ptr<const HeldReceiver>> LoadReceiver(const CodecFiles& files,
                                                                 const LanguageModel& sharer) {
  if (files.receiver.empty()) return nullptr;
  ASSIGN_OR_RETURN(HeldReceiver held, HeldReceiver::Load(files.receiver, files.fuser, sharer));
  return std::make_shared<const HeldReceiver>(std::move(held));
}

absl::Status Run(const DaemonOptions& options, uint32_t chunk_bytes, const CodecFiles& files) {
  std::optional<StopSignalsEndProcess> loading(std::in_place);
  RETURN_IF_ERROR(PrepareProcess(options));
  ASSIGN_OR_RETURN(const ModelOptions model_options, options.Model());
  ASSIGN_OR_RETURN(const LanguageModel language_model,
                   LanguageModel::Load(options.model, model_options));
  ASSIGN_OR_RETURN(const WeightsById weights, LoadWeights(files.sensitivity, language_model.model));
  ASSIGN_OR_RETURN(std::vector<ChannelMeans> calibrations,
                   LoadChannelMeansFiles(files.calibration, language_model.model.fingerprint(),
                                         language_model.model.config().Layout()));
  ASSIGN_OR_RETURN(KltCodebooks codebooks,
                   KltCodebooks::Load(files.codebooks, language_model.model.fingerprint()));
  ASSIGN_OR_RETURN(const std::shared_ptr<const HeldReceiver> receiver,
                   LoadReceiver(files, language_model));
  const std::string weight_ids = IdsOf(weights);
  const std::string codebook_ids = codebooks.IdsText();
  Metrics registry;
  Qc2cMetrics metrics(registry);
  SharerService service(language_model, metrics, options.Limits(), chunk_bytes,
                        {.weights = weights,
                         .calibrations = std::move(calibrations),
                         .codebooks = std::move(codebooks),
                         .receiver = receiver});
  loading.reset();
  return Serve(options, {.program = "qc2c-sharer",
                         .service = {v1::Sharer::service_full_name(), &service},
                         .metrics = registry,
                         .ready = {{"model", language_model.name},
                                   {"layout", language_model.model.config().Layout().ToString()},
                                   {"device", options.device},
                                   {"dtype", options.dtype},
                                   {"codecs", SchemeNames(",")},
                                   {"weights", weight_ids.empty() ? "none" : weight_ids},
                                   {"codebooks", codebook_ids},
                                   {"held_bytes", std::to_string(receiver ? receiver->bytes : 0)}},
                         .stop_admitting = [&] { service.StopAdmitting(); },
                         .busy = [&] { return metrics.inflight.Value() > 0; }});
}

}  // namespace
}  // namespace qc2c

int main(int argc, char** argv) {
  qc2c::BlockStopSignals();
  CLI::App app("Serves a language model's KV cache, quantized and pruned, over gRPC.",
               "qc2c-sharer");
  qc2c::DaemonOptions options;
  qc2c::AddDaemonFlags(app, options);
  uint32_t chunk_bytes = qc2c::kDefaultChunkBytes;
  app.add_option("--chunk-bytes", chunk_bytes,
                 "Bytes of codes and scales in one message; a smaller cache is one message")
      ->capture_default_str()
      ->check(CLI::Range(qc2c::kMinChunkBytes, qc2c::kMaxChunkBytes));
  qc2c::CodecFiles files;
  app.add_option("--sensitivity", files.sensitivity,
                 "File of `qc2c sensitivity` that a codec's weights may name; may be given again");
  app.add_option(
      "--calibration", files.calibration,
      "A file of channel means for codecs with mean=calibrated (qc2c means); repeatable");
  CLI::Option* const receiver = app.add_option(
      "--receiver", files.receiver,
      "Model folder of the receiver, for select=projected_norm and residual_norm; with --fuser");
  CLI::Option* const fuser =
      app.add_option("--fuser", files.fuser, "The receiver's fuser, with --receiver");
  receiver->needs(fuser);
  fuser->needs(receiver);
  qc2c::AddCodebookFlag(app, files.codebooks);
  return qc2c::RunProgram(app, argc, argv, [&] { return qc2c::Run(options, chunk_bytes, files); });
}
