// qc2c-receiver: answers questions, alone or with what sharers handed over.
//
//   qc2c-receiver --model DIR [--fuser DIR] --sharer unix:/run/qc2c/sharer.sock
//                 --listen unix:/run/qc2c/receiver.sock [--metrics 127.0.0.1:9102]
//
// --sharer and --fuser may be repeated; --combine says how several sharers are fused.
#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/codec/scheme_registry.h"
#include "common/obs/metrics.h"
#include "common/obs/qc2c_metrics.h"
#include "common/rpc/stop_signals.h"
#include "common/serving/daemon.h"
#include "common/serving/language_model.h"
#include "receiver/connected_sharer.h"
#include "receiver/receiver_options.h"
#include "receiver/service.h"

namespace qc2c {
namespace {

// What `of` says of each sharer, joined with commas.
std::string OfEach(const std::vector<ConnectedSharer>& sharers,
                   const std::function<std::string(const ConnectedSharer&)>& of) {
  return absl::StrJoin(sharers, ",", [&](std::string* out, const ConnectedSharer& sharer) {
    out->append(of(sharer));
  });
}

std::string FuserOf(const ConnectedSharer& sharer) {
  return sharer.fuser() == nullptr ? "none" : HashText(sharer.fuser()->fingerprint());
}

absl::Status Run(const ReceiverOptions& options) {
  std::optional<StopSignalsEndProcess> loading(std::in_place);
  RETURN_IF_ERROR(PrepareProcess(options.daemon));
  ASSIGN_OR_RETURN(const ModelOptions model_options, options.daemon.Model());
  ASSIGN_OR_RETURN(const FusionOrder order, ParseFusionOrder(options.combine));
  ASSIGN_OR_RETURN(const LanguageModel language_model,
                   LanguageModel::Load(options.daemon.model, model_options));
  ASSIGN_OR_RETURN(const std::vector<SharerOptions> sharer_options,
                   options.Sharers(language_model.tokenizer.hash()));
  ASSIGN_OR_RETURN(const std::vector<ConnectedSharer> sharers,
                   ConnectSharers(language_model, sharer_options, options.files));
  Metrics registry;
  Qc2cMetrics metrics(registry);
  ReceiverService service({language_model, sharers, metrics, order}, options.daemon.Limits(),
                          options.workers);
  using Sharer = const ConnectedSharer&;
  loading.reset();
  return Serve(
      options.daemon,
      {.program = "qc2c-receiver",
       .service = {v1::Receiver::service_full_name(), &service},
       .metrics = registry,
       .ready = {{"model", language_model.name},
                 {"layout", language_model.model.config().Layout().ToString()},
                 {"device", options.daemon.device},
                 {"dtype", options.daemon.dtype},
                 {"sharer", OfEach(sharers, [](Sharer s) { return s.card().model(); })},
                 {"fuser", OfEach(sharers, FuserOf)},
                 {"combine", options.combine},
                 {"alignment", OfEach(sharers,
                                      [](Sharer s) {
                                        return std::string(
                                            AlignmentStrategyName(s.pairing().strategy()));
                                      })},
                 {"codecs", SchemeNames(",")},
                 {"codebooks", OfEach(sharers, [](Sharer s) { return s.codebooks().IdsText(); })}},
       .stop_admitting = [&] { service.StopAdmitting(); },
       .busy = [&] { return metrics.inflight.Value() > 0; }});
}

}  // namespace
}  // namespace qc2c

int main(int argc, char** argv) {
  qc2c::BlockStopSignals();
  CLI::App app("Answers questions, alone or fused with sharers' KV caches.", "qc2c-receiver");
  qc2c::ReceiverOptions options;
  qc2c::AddReceiverFlags(app, options);
  return qc2c::RunProgram(app, argc, argv, [&] { return qc2c::Run(options); });
}
