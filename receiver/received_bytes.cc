#include "receiver/received_bytes.h"

namespace qc2c {

void CountReceived(Qc2cMetrics& metrics, const std::string& sharer, const std::string& codec,
                   const WireBytes& bytes) {
  CountBytes(metrics.rx_bytes_total, codec,
             {bytes.payload, bytes.scales, bytes.indices, bytes.header});
  metrics.sharer_rx_bytes_total.With(sharer, codec).Increment(static_cast<double>(bytes.tx));
}

}  // namespace qc2c
