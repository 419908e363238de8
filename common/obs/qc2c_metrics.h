// Every metric that the daemons expose: the one place where names, help texts and labels are
// written.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/obs/metrics.h"

namespace qc2c {

enum class Part { kPayload, kScales, kIndices, kHeader };
enum class Stage {
  kQueue,
  kTokenize,
  kSharerPrefill,
  kEncode,
  kTransfer,
  kDecodeCache,
  kReceiverPrefill,
  kFuse,
  kGenerate
};
enum class Fate { kKept, kDropped };

std::string_view PartName(Part part);     // the value of the label `part`
std::string_view StageName(Stage stage);  // the value of the label `stage`
std::string_view FateName(Fate fate);     // the value of the label `fate`

// Serialized bytes of one cache or text by what they carry; the sum is bytes_tx.
struct PartBytes {
  uint64_t payload = 0;
  uint64_t scales = 0;
  uint64_t indices = 0;
  uint64_t header = 0;
};

// Thread-safe. A family with labels is exposed from its first use; stages and fates of no codec,
// and what has no label, from the start.
struct Qc2cMetrics {
  explicit Qc2cMetrics(Metrics& metrics);

  CounterFamily<2> tx_bytes_total;         // codec, part
  CounterFamily<2> rx_bytes_total;         // codec, part
  CounterFamily<2> sharer_rx_bytes_total;  // sharer, codec
  CounterFamily<1> raw_bytes_total;        // codec
  HistogramFamily<1> stage_seconds;        // stage
  CounterFamily<2> tokens_total;           // codec, fate
  prometheus::Counter& layers_skipped_total;
  CounterFamily<2> requests_total;  // method, code
  prometheus::Gauge& inflight;
  prometheus::Histogram& batch_size;
  prometheus::Gauge& queue_length;
  CounterFamily<1> degraded_total;         // reason
  CounterFamily<1> rejected_total;         // reason
  CounterFamily<1> codec_fallbacks_total;  // codec
  CounterFamily<3> questions_total;        // dataset, mode, codec
  CounterFamily<3> correct_total;          // dataset, mode, codec

  void ObserveStage(Stage stage, uint64_t microseconds);
  void CountTokens(std::string_view codec, uint64_t kept, uint64_t dropped);
};

// Adds the four parts to `family`, which is tx_bytes_total or rx_bytes_total.
void CountBytes(CounterFamily<2>& family, std::string_view codec, const PartBytes& bytes);

}  // namespace qc2c
