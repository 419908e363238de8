// The trailing metadata of Sharer.Share and Sharer.Generate.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/server_context.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "qc2c/v1/sharer.pb.h"

namespace qc2c {

inline constexpr char kTxBytesKey[] = "qc2c-tx-bytes";   // decimal
inline constexpr char kStagesKey[] = "qc2c-stages-bin";  // a serialized StageTimes

// Call these before the call is finished.
void AddTxBytes(uint64_t tx_bytes, grpc::ServerContextBase* context);
void AddStageTimes(const v1::StageTimes& times, grpc::ServerContextBase* context);

// Call these after the call is done. DATA_LOSS, naming the key, if it is absent or malformed.
absl::StatusOr<uint64_t> GetTxBytes(const grpc::ClientContext& context);
absl::StatusOr<v1::StageTimes> GetStageTimes(const grpc::ClientContext& context);

}  // namespace qc2c
