#include "receiver/received_bytes.h"

namespace qc2c {

void CountReceived(Qc2cMetrics& metrics, const std::string& sharer, const std::string& codec,
                   const WireBytes& bytes) {
  CountBytes(metrics.rx_bytes_total, codec,
             {bytes.payload, bytes.scales, bytes.indices, bytes.header});
  metrics.sharer_rx_bytes_total.With(sharer, codec).Increment(static_cast<double>(bytes.tx));
}

uint64_t MostBytes(const FrameExpectation& expectation) {
  // The values in fp32, and three times as much for scales, zero points, indices and block headers
  // where heads are narrow or messages small; and room for what a frame has in any case.
  constexpr uint64_t kBytesOfValue = 4 * sizeof(float);
  constexpr uint64_t kBase = uint64_t{1} << 20;
  const KvLayout& layout = expectation.layout;
  return kBase + kBytesOfValue * expectation.layers.NumTensors() * expectation.num_tokens *
                     static_cast<uint64_t>(layout.num_kv_heads) *
                     static_cast<uint64_t>(layout.head_dim);
}

}  // namespace qc2c
