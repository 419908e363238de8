// The driver's side of the receiver's RPCs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/address.h"
#include "qc2c/v1/receiver.pb.h"

namespace qc2c {

struct AskOptions {
  uint32_t in_flight = 64;  // questions that are asked and not yet answered
  // How long to keep trying while nothing is answered: the receiver or its sharer may be
  // restarting.
  absl::Duration retry_for = absl::Seconds(60);
  std::function<bool()> stopped = [] { return false; };  // looked at ten times a second
  std::function<void(const std::string&)> on_trouble = [](const std::string&) {};
  // Whether the receiver, which may have been restarted as another, is to be asked: called before
  // each stream. Its error ends the run. Empty: the receiver is not described.
  std::function<absl::Status(const v1::ReceiverCard&)> check_receiver;
  // What has crossed the socket between sharer and receiver so far, both ways, where somebody
  // counts it (socket_meter.h); empty elsewhere.
  std::function<uint64_t()> socket_bytes;
};

struct FailedQuestion {
  std::string id;
  absl::Status status;
};

struct AskResult {
  // Errors of single questions: trying again would not help, or did not.
  std::vector<FailedQuestion> failed;
  uint64_t asked_again = 0;  // questions sent more than once, because a peer went away
};

// Thread-safe.
class ReceiverClient {
 public:
  // Nothing is sent before the first call. INVALID_ARGUMENT for an address that is neither
  // `unix:PATH` nor `HOST:PORT`, or that leaves this machine unless `access` allows that.
  static absl::StatusOr<std::unique_ptr<ReceiverClient>> Create(
      const std::string& address, RemoteAccess access = RemoteAccess::kRefuse);
  ~ReceiverClient();

  // Waits at most `patience` for the receiver to be there. UNAVAILABLE names the address.
  absl::StatusOr<v1::ReceiverCard> Describe(absl::Duration patience);
  absl::Status ReportScores(const v1::ScoreReport& report);

  // Asks all `requests` (distinct ids), many at a time, and calls `on_reply` on this thread for
  // each final reply without an error, exactly once for each id; with STREAMING_TOKENS also for the
  // pieces before it. When the stream breaks or a peer is away it reconnects and asks again only
  // what is unanswered.
  //   CANCELLED         options.stopped() became true
  //   UNAVAILABLE       nothing was answered for options.retry_for; the last reason
  //   any other error   the stream was refused, or on_reply or options.check_receiver returned it
  absl::StatusOr<AskResult> AnswerAll(
      const std::vector<v1::AnswerRequest>& requests, const AskOptions& options,
      const std::function<absl::Status(const v1::AnswerReply&)>& on_reply);

 private:
  struct Connection;
  ReceiverClient(std::string address, std::unique_ptr<Connection> connection);

  std::string address_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace qc2c
