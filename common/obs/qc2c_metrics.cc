#include "common/obs/qc2c_metrics.h"

#include <array>

namespace qc2c {
namespace {

constexpr std::array<std::string_view, 4> kParts = {"payload", "scales", "indices", "header"};
constexpr std::array<std::string_view, 9> kStages = {
    "queue",        "tokenize",         "sharer_prefill", "encode",  "transfer",
    "decode_cache", "receiver_prefill", "fuse",           "generate"};
constexpr std::array<std::string_view, 2> kFates = {"kept", "dropped"};

const Label kCodec = {"codec", LabelKind::kOpen};
const Label kDataset = {"dataset", LabelKind::kOpen};
const Label kMode = {"mode", LabelKind::kOpen};  // the driver's report is a peer's text
const Label kPart = {"part"};
const Label kReason = {"reason"};

}  // namespace

std::string_view PartName(Part part) { return kParts[static_cast<size_t>(part)]; }
std::string_view StageName(Stage stage) { return kStages[static_cast<size_t>(stage)]; }
std::string_view FateName(Fate fate) { return kFates[static_cast<size_t>(fate)]; }

Qc2cMetrics::Qc2cMetrics(Metrics& metrics)
    : tx_bytes_total(metrics, "qc2c_tx_bytes_total",
                     "Serialized bytes sent to receivers; the sum over parts is bytes_tx",
                     {kCodec, kPart}),
      rx_bytes_total(metrics, "qc2c_rx_bytes_total",
                     "Serialized bytes received from sharers, by what they carry", {kCodec, kPart}),
      sharer_rx_bytes_total(metrics, "qc2c_sharer_rx_bytes_total",
                            "The same bytes by the sharer's address", {Label{"sharer"}, kCodec}),
      raw_bytes_total(metrics, "qc2c_raw_bytes_total",
                      "Size of the same caches, all tokens, in the sharer's own dtype", {kCodec}),
      stage_seconds(metrics, "qc2c_stage_seconds", "Time of one request in each stage",
                    {Label{"stage"}}, DoublingBounds(0.0005, 16)),
      tokens_total(metrics, "qc2c_tokens_total", "Sharer tokens that were sent or pruned",
                   {kCodec, Label{"fate"}}),
      layers_skipped_total(
          MakeCounter(metrics, "qc2c_layers_skipped_total",
                      "Sharer layers not sent because no receiver layer reads them")),
      requests_total(metrics, "qc2c_requests_total", "Finished RPCs by status code",
                     {Label{"method"}, Label{"code"}}),
      inflight(MakeGauge(metrics, "qc2c_inflight", "Requests accepted and not yet finished")),
      batch_size(MakeHistogram(metrics, "qc2c_batch_size", "Sequences a model batch",
                               DoublingBounds(1, 9))),
      queue_length(MakeGauge(metrics, "qc2c_queue_length", "Requests waiting for a batch")),
      degraded_total(metrics, "qc2c_degraded_total", "Sharers that an answer went on without",
                     {kReason}),
      rejected_total(metrics, "qc2c_rejected_total", "Requests refused before any work", {kReason}),
      codec_fallbacks_total(metrics, "qc2c_codec_fallbacks_total",
                            "Prompts that a codebook does not fit, sent with another codec",
                            {kCodec}),
      questions_total(metrics, "qc2c_questions_total", "Scored answers, as the driver reported",
                      {kDataset, kMode, kCodec}),
      correct_total(metrics, "qc2c_correct_total", "Correct answers, as the driver reported",
                    {kDataset, kMode, kCodec}) {
  for (std::string_view stage : kStages) stage_seconds.With(stage);
}

void Qc2cMetrics::ObserveStage(Stage stage, uint64_t microseconds) {
  stage_seconds.With(StageName(stage)).Observe(static_cast<double>(microseconds) * 1e-6);
}

void Qc2cMetrics::CountTokens(std::string_view codec, uint64_t kept, uint64_t dropped) {
  tokens_total.With(codec, FateName(Fate::kKept)).Increment(static_cast<double>(kept));
  tokens_total.With(codec, FateName(Fate::kDropped)).Increment(static_cast<double>(dropped));
}

void CountBytes(CounterFamily<2>& family, std::string_view codec, const PartBytes& bytes) {
  const std::array<uint64_t, 4> counts = {bytes.payload, bytes.scales, bytes.indices, bytes.header};
  for (size_t i = 0; i < counts.size(); ++i)
    family.With(codec, kParts[i]).Increment(static_cast<double>(counts[i]));
}

}  // namespace qc2c
