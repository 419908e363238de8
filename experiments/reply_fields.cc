#include "experiments/reply_fields.h"

namespace qc2c {

nlohmann::ordered_json BytesToJson(const v1::ByteCounts& bytes) {
  return {{"payload", bytes.payload()}, {"scales", bytes.scales()},    {"indices", bytes.indices()},
          {"header", bytes.header()},   {"grpc", bytes.grpc()},        {"formula", bytes.formula()},
          {"raw", bytes.raw()},         {"messages", bytes.messages()}};
}

std::vector<StageTime> StagesOf(const v1::StageTimes& times) {
  return {{"queue", times.queue_us()},
          {"tokenize", times.tokenize_us()},
          {"sharer_prefill", times.sharer_prefill_us()},
          {"encode", times.encode_us()},
          {"transfer", times.transfer_us()},
          {"decode_cache", times.decode_cache_us()},
          {"receiver_prefill", times.receiver_prefill_us()},
          {"fuse", times.fuse_us()},
          {"generate", times.generate_us()}};
}

}  // namespace qc2c
