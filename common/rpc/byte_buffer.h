// grpc::ByteBuffer from and to a message's bytes, for the methods that gRPC leaves serialized.
#pragma once

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace qc2c {

// Takes the string over: no byte is copied, and it is freed when the transport needs it no more.
grpc::ByteBuffer ToByteBuffer(std::string message);

// The bytes in one string: one copy, out of the slices that arrived. INTERNAL if the buffer is
// broken.
absl::StatusOr<std::string> ToBytes(const grpc::ByteBuffer& buffer);

// Parses `buffer` into `message`. INVALID_ARGUMENT, naming the message's type, if it does not
// parse.
absl::Status ParseMessage(const grpc::ByteBuffer& buffer, google::protobuf::MessageLite* message);

}  // namespace qc2c
