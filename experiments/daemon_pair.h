// A sharer and a receiver of one's own, joined by a unix socket in a private folder.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "experiments/child_process.h"
#include "experiments/recipe.h"
#include "experiments/socket_meter.h"

namespace qc2c {

struct DaemonPairOptions {
  Pair models;
  std::string device = "cpu";
  std::string dtype = "fp32";
  int threads = 1;             // of each daemon
  int max_batch_size = 0;      // questions that each daemon computes together; 0: its default
  std::filesystem::path logs;  // where qc2c-sharer.log and qc2c-receiver.log are appended to
};

// Both processes end with this object, the folder of the sockets too.
class DaemonPair {
 public:
  // Starts both and waits until they are ready. NOT_FOUND if a program or a model folder is not
  // there, UNAVAILABLE with the end of its log if a daemon ends, CANCELLED if a stop signal comes.
  static absl::StatusOr<std::unique_ptr<DaemonPair>> Start(const DaemonPairOptions& options);
  ~DaemonPair();

  const std::string& receiver_address() const { return receiver_address_; }
  // What crossed the socket between the two so far.
  SocketBytes socket_bytes() const { return meter_->bytes(); }
  const std::string& sharer_metrics() const { return sharer_metrics_; }      // HOST:PORT
  const std::string& receiver_metrics() const { return receiver_metrics_; }  // HOST:PORT

 private:
  DaemonPair() = default;

  std::filesystem::path folder_;  // of the sockets; mode 0700
  std::string receiver_address_;
  std::string sharer_metrics_;
  std::string receiver_metrics_;
  std::unique_ptr<SocketMeter> meter_;  // between the two
  std::unique_ptr<ChildProcess> sharer_;
  std::unique_ptr<ChildProcess> receiver_;
};

}  // namespace qc2c
