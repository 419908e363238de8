#include "common/rpc/byte_buffer.h"

#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace qc2c {

grpc::ByteBuffer ToByteBuffer(std::string message) {
  auto owner = std::make_unique<std::string>(std::move(message));
  std::string* bytes = owner.release();
  const grpc::Slice slice(
      bytes->data(), bytes->size(), [](void* user) { delete static_cast<std::string*>(user); },
      bytes);
  return grpc::ByteBuffer(&slice, 1);
}

absl::StatusOr<std::string> ToBytes(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  if (!buffer.Valid() || !buffer.Dump(&slices).ok())
    return absl::InternalError("the message's buffer cannot be read");
  std::string bytes;
  bytes.reserve(buffer.Length());
  for (const grpc::Slice& slice : slices)
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

absl::Status ParseMessage(const grpc::ByteBuffer& buffer, google::protobuf::MessageLite* message) {
  grpc::ByteBuffer copy(buffer);  // shares the slices; the reader wants a mutable one
  grpc::ProtoBufferReader reader(&copy);
  if (!reader.status().ok() || !message->ParseFromZeroCopyStream(&reader))
    return absl::InvalidArgumentError(absl::StrCat("the request is ", buffer.Length(),
                                                   " bytes that do not parse as ",
                                                   message->GetTypeName()));
  return absl::OkStatus();
}

}  // namespace qc2c
