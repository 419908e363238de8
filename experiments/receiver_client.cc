#include "experiments/receiver_client.h"

#include <algorithm>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/rpc/channel.h"
#include "common/rpc/status.h"
#include "experiments/batch_stream.h"

namespace qc2c {
namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(100);
constexpr absl::Duration kLongestPause = absl::Seconds(2);
constexpr absl::Duration kCheckPatience = absl::Seconds(2);  // a stop signal waits meanwhile
constexpr int kMostRefusals = 5;

// Trying again may help: a peer is away, or its queue is full.
bool MayPass(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsResourceExhausted(status);
}

// How a stream ends when its process is killed depends on what was on the wire at that moment.
bool IsBroken(const absl::Status& status) {
  return status.ok() || MayPass(status) || absl::IsUnknown(status) || absl::IsInternal(status) ||
         absl::IsCancelled(status) || absl::IsAborted(status);
}

}  // namespace

struct ReceiverClient::Connection {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::Receiver::Stub> stub;
};

ReceiverClient::ReceiverClient(std::string address, std::unique_ptr<Connection> connection)
    : address_(std::move(address)), connection_(std::move(connection)) {}

absl::StatusOr<std::unique_ptr<ReceiverClient>> ReceiverClient::Create(const std::string& address,
                                                                       RemoteAccess access) {
  ASSIGN_OR_RETURN(const Address parsed, ParseAddress(address));
  auto connection = std::make_unique<Connection>();
  ASSIGN_OR_RETURN(connection->channel, CreateChannel(parsed, {.access = access}));
  connection->stub = v1::Receiver::NewStub(connection->channel);
  return std::unique_ptr<ReceiverClient>(new ReceiverClient(address, std::move(connection)));
}

ReceiverClient::~ReceiverClient() = default;

absl::StatusOr<v1::ReceiverCard> ReceiverClient::Describe(absl::Duration patience) {
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  SetTimeout(patience, &context);
  v1::ReceiverCard card;
  const absl::Status status =
      FromGrpcStatus(connection_->stub->Describe(&context, v1::DescribeRequest(), &card));
  if (status.ok()) return card;
  if (absl::IsDeadlineExceeded(status) || absl::IsUnavailable(status)) {
    return absl::UnavailableError(absl::StrCat("no receiver at ", address_, " within ",
                                               absl::FormatDuration(patience), " (",
                                               status.message(), ")"));
  }
  return absl::Status(status.code(),
                      absl::StrCat("receiver at ", address_, ": ", status.message()));
}

absl::Status ReceiverClient::ReportScores(const v1::ScoreReport& report) {
  grpc::ClientContext context;
  SetTimeout(absl::Seconds(10), &context);
  v1::ScoreReceipt receipt;
  return FromGrpcStatus(connection_->stub->ReportScores(&context, report, &receipt));
}

namespace {

// What is answered, what failed, and how long nothing has happened: the state between streams.
class Ledger {
 public:
  Ledger(const std::vector<v1::AnswerRequest>& requests, const AskOptions& options)
      : options_(options) {
    for (const v1::AnswerRequest& request : requests) {
      order_.push_back(&request);
      open_[request.question_id()] = &request;
    }
  }

  // What the next stream is to ask.
  std::vector<const v1::AnswerRequest*> BeginStream() {
    std::vector<const v1::AnswerRequest*> requests = Unanswered();
    const std::string& first = requests.front()->question_id();
    if (first != first_.id) first_ = {.id = first};
    first_.refusal = absl::OkStatus();
    num_answered_ = 0;
    return requests;
  }

  // A full queue has room again after a while; a question that is too large stays so. The first of
  // a stream meets no queue that this run filled. It fails after kMostRefusals streams that
  // answered others, or when nothing was answered for half of the patience.
  void EndStream() {
    if (first_.refusal.ok()) return;
    if (num_answered_ > 0) ++first_.num_refusals;
    const bool was_long = absl::Now() - trouble_since_ >= options_.retry_for / 2;
    if (first_.num_refusals < kMostRefusals && !was_long) return;
    failed_.push_back({first_.id, first_.refusal});
    open_.erase(first_.id);
    trouble_since_ = absl::InfiniteFuture();
  }

  std::vector<const v1::AnswerRequest*> Unanswered() const {
    std::vector<const v1::AnswerRequest*> requests;
    std::copy_if(order_.begin(), order_.end(), std::back_inserter(requests),
                 [&](const auto* request) { return open_.contains(request->question_id()); });
    return requests;
  }

  BatchStream::More Take(const v1::AnswerReply& reply,
                         const std::function<absl::Status(const v1::AnswerReply&)>& on_reply) {
    if (!fatal_.ok()) return BatchStream::More::kDrain;
    const std::string& id = reply.question_id();
    if (!open_.contains(id)) {
      fatal_ = absl::InternalError(absl::StrCat("the receiver answered \"", id,
                                                "\", which it was not asked or has answered"));
      return BatchStream::More::kDrain;
    }
    if (reply.error_code() != 0) return TakeError(reply);
    fatal_ = on_reply(reply);
    if (reply.final()) {
      open_.erase(id);
      ++num_answered_;
      pause_ = kFirstPause;
      trouble_since_ = absl::InfiniteFuture();
    }
    return fatal_.ok() ? BatchStream::More::kSend : BatchStream::More::kDrain;
  }

  // Waits before the next stream. The error that ends the run, if one does.
  absl::Status PauseAfter(const absl::Status& stream_status) {
    RETURN_IF_ERROR(fatal_);
    if (options_.stopped()) return absl::CancelledError("stopped");
    if (open_.empty()) return absl::OkStatus();
    if (!IsBroken(stream_status)) return stream_status;
    absl::Status reason = stream_status;
    if (reason.ok()) reason = last_error_;
    if (reason.ok()) reason = absl::UnavailableError("the receiver ended the stream early");
    trouble_since_ = std::min(trouble_since_, absl::Now());
    if (absl::Now() - trouble_since_ >= options_.retry_for) {
      return absl::UnavailableError(absl::StrCat("nothing was answered for ",
                                                 absl::FormatDuration(options_.retry_for), ": ",
                                                 reason.message()));
    }
    options_.on_trouble(
        absl::StrCat(open_.size(), " unanswered, trying again: ", std::string(reason.message())));
    const absl::Time until = absl::Now() + pause_;
    while (absl::Now() < until && !options_.stopped()) absl::SleepFor(absl::Milliseconds(20));
    pause_ = std::min(pause_ * 2, kLongestPause);
    last_error_ = absl::OkStatus();
    return absl::OkStatus();
  }

  bool done() const { return open_.empty(); }
  std::vector<FailedQuestion> failed() const { return failed_; }

 private:
  BatchStream::More TakeError(const v1::AnswerReply& reply) {
    const absl::Status error(static_cast<absl::StatusCode>(reply.error_code()),
                             reply.error_message());
    if (MayPass(error)) {
      last_error_ = error;
      if (absl::IsResourceExhausted(error) && reply.question_id() == first_.id) {
        first_.refusal = error;
      }
      return BatchStream::More::kDrain;  // others would meet the same; ask again after a pause
    }
    failed_.push_back({reply.question_id(), error});
    open_.erase(reply.question_id());
    return BatchStream::More::kSend;
  }

  // The question that a stream begins with.
  struct First {
    std::string id;
    absl::Status refusal;  // RESOURCE_EXHAUSTED, if it was in this stream
    int num_refusals = 0;  // in streams that answered others
  };

  const AskOptions& options_;
  std::vector<const v1::AnswerRequest*> order_;
  std::unordered_map<std::string, const v1::AnswerRequest*> open_;
  std::vector<FailedQuestion> failed_;
  absl::Status fatal_;       // ends the run
  absl::Status last_error_;  // of a question that will be asked again
  absl::Time trouble_since_ = absl::InfiniteFuture();
  absl::Duration pause_ = kFirstPause;
  First first_;
  size_t num_answered_ = 0;  // in this stream
};

}  // namespace

absl::StatusOr<AskResult> ReceiverClient::AnswerAll(
    const std::vector<v1::AnswerRequest>& requests, const AskOptions& options,
    const std::function<absl::Status(const v1::AnswerReply&)>& on_reply) {
  Ledger ledger(requests, options);
  AskResult result;
  while (!ledger.done()) {
    if (options.stopped()) return absl::CancelledError("stopped");
    if (options.check_receiver) {
      const absl::StatusOr<v1::ReceiverCard> card = Describe(kCheckPatience);
      RETURN_IF_ERROR(card.ok() ? options.check_receiver(*card) : ledger.PauseAfter(card.status()));
      if (!card.ok()) continue;
    }
    const std::vector<const v1::AnswerRequest*> open = ledger.BeginStream();
    BatchStream stream(*connection_->stub, open, options);
    const grpc::Status status =
        stream.Run([&](const v1::AnswerReply& reply) { return ledger.Take(reply, on_reply); });
    ledger.EndStream();
    RETURN_IF_ERROR(ledger.PauseAfter(FromGrpcStatus(status)));
    result.asked_again += stream.num_sent() - (open.size() - ledger.Unanswered().size());
  }
  result.failed = ledger.failed();
  return result;
}

}  // namespace qc2c
