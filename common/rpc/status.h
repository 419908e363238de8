// The one place where absl::Status and grpc::Status become each other.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace qc2c {

// The same code. A message over 2 KiB is cut: with the headers it must fit in 8 KiB after escaping.
grpc::Status ToGrpcStatus(const absl::Status& status);
// A code outside the canonical ones becomes UNKNOWN.
absl::Status FromGrpcStatus(const grpc::Status& status);

}  // namespace qc2c
