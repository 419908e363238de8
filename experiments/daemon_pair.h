// A receiver and its sharers of one's own, joined by unix sockets in a private folder.
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
  std::filesystem::path logs;  // where qc2c-sharer.log (SharerName) and qc2c-receiver.log are
                               // appended to
};

// All processes end with this object, the folder of the sockets too.
class DaemonPair {
 public:
  // Starts all and waits until they are ready. NOT_FOUND if a program or a model folder is not
  // there, UNAVAILABLE with the end of its log if a daemon ends, CANCELLED if a stop signal comes.
  static absl::StatusOr<std::unique_ptr<DaemonPair>> Start(const DaemonPairOptions& options);
  ~DaemonPair();

  const std::string& receiver_address() const { return receiver_address_; }
  // What crossed the sockets between sharers and receiver so far.
  SocketBytes socket_bytes() const;
  size_t num_sharers() const { return sharers_.size(); }
  const std::string& sharer_metrics(size_t index) const { return sharers_[index].metrics; }
  const std::string& receiver_metrics() const { return receiver_metrics_; }  // HOST:PORT
  // Of its files: "qc2c-sharer", then "qc2c-sharer-2" and so on.
  static std::string SharerName(size_t index);

 private:
  struct Sharer {
    std::unique_ptr<SocketMeter> meter;  // between it and the receiver
    std::unique_ptr<ChildProcess> process;
    std::filesystem::path log;
    uint64_t log_offset = 0;  // where its own lines begin
    std::string metrics;      // HOST:PORT
  };

  DaemonPair() = default;
  absl::Status StartSharer(const DaemonPairOptions& options, const PairedSharer& model);
  absl::Status StartReceiver(const DaemonPairOptions& options);

  std::filesystem::path folder_;  // of the sockets; mode 0700
  std::string receiver_address_;
  std::string receiver_metrics_;
  std::vector<Sharer> sharers_;
  std::unique_ptr<ChildProcess> receiver_;
};

}  // namespace qc2c
