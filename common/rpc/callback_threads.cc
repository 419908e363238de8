#include "common/rpc/callback_threads.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

namespace qc2c {

void KeepCallbackThreads() {
  // A server that listens nowhere holds the threads, and is never destroyed.
  static grpc::Server* const keeper = [] {
    grpc::ServerBuilder builder;
    builder.RegisterCallbackGenericService(new grpc::CallbackGenericService);
    return builder.BuildAndStart().release();
  }();
  static_cast<void>(keeper);
}

}  // namespace qc2c
