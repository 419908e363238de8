#include "experiments/daemon_pair.h"

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"
#include "experiments/project_files.h"
#include "experiments/stop_signal.h"

namespace qc2c {
namespace {

constexpr absl::Duration kReadyPatience = absl::Seconds(120);
constexpr absl::Duration kLookAgain = absl::Milliseconds(20);
constexpr size_t kShownLogBytes = 2000;

uint64_t SizeOf(const std::filesystem::path& file) {
  std::error_code error;
  const uint64_t size = std::filesystem::file_size(file, error);
  return error ? 0 : size;
}

std::string TextFrom(const std::filesystem::path& file, uint64_t offset) {
  std::ifstream stream(file, std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(offset));
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

// The value of `key` in the complete line that begins with "PROGRAM ready "; empty if there is
// none.
std::string ReadyField(const std::string& log, const std::string& program, const std::string& key) {
  std::istringstream lines(log.substr(0, log.rfind('\n') + 1));
  std::string line;
  while (std::getline(lines, line)) {
    if (!absl::StartsWith(line, absl::StrCat(program, " ready "))) continue;
    std::istringstream words(line);
    std::string word;
    while (words >> word) {
      if (absl::StartsWith(word, absl::StrCat(key, "="))) return word.substr(key.size() + 1);
    }
  }
  return "";
}

// Waits for the ready line in what the program adds to its log, and returns its metrics address.
absl::StatusOr<std::string> AwaitReady(ChildProcess& process, const std::string& program,
                                       const std::filesystem::path& log, uint64_t offset) {
  const absl::Time patience_ends = absl::Now() + kReadyPatience;
  while (true) {
    const std::optional<int> status = process.Poll();
    const std::string text = TextFrom(log, offset);
    const std::string metrics = ReadyField(text, program, "metrics");
    if (!metrics.empty() && !status) return metrics;
    if (StopRequested()) return absl::CancelledError("stopped");
    if (status || absl::Now() >= patience_ends) {
      const size_t begin = text.size() - std::min(text.size(), kShownLogBytes);
      return absl::UnavailableError(absl::StrCat(
          program, status ? absl::StrCat(" ended with status ", *status) : " is not ready",
          "; its log, ", log.string(), ", ends with:\n", text.substr(begin)));
    }
    absl::SleepFor(kLookAgain);
  }
}

absl::Status CheckFolders(const Pair& models) {
  const auto check = [&](const std::filesystem::path& folder) {
    if (folder.empty() || std::filesystem::is_directory(folder)) return absl::OkStatus();
    return absl::NotFoundError(absl::StrCat("pair ", models.name, ": no folder ", folder.string()));
  };
  RETURN_IF_ERROR(check(models.receiver));
  for (const PairedSharer& sharer : models.sharers) {
    RETURN_IF_ERROR(check(sharer.model));
    RETURN_IF_ERROR(check(sharer.fuser));
    if (!sharer.codebook.empty() && !std::filesystem::is_regular_file(sharer.codebook)) {
      return absl::NotFoundError(
          absl::StrCat("pair ", models.name, ": no codebook ", sharer.codebook.string()));
    }
  }
  return absl::OkStatus();
}

// What every daemon is given.
std::vector<std::string> CommonFlags(const DaemonPairOptions& options) {
  std::vector<std::string> flags = {"--device",    options.device, "--dtype",
                                    options.dtype, "--threads",    absl::StrCat(options.threads),
                                    "--metrics",   "127.0.0.1:0"};
  if (options.max_batch_size > 0) {
    // Room for so many prompts of the usual length.
    constexpr int kTokensAPrompt = 256;
    flags.insert(flags.end(),
                 {"--max-batch-size", absl::StrCat(options.max_batch_size), "--max-batch-tokens",
                  absl::StrCat(options.max_batch_size * kTokensAPrompt)});
  }
  return flags;
}

void Append(std::vector<std::string>& command, const std::vector<std::string>& flags) {
  command.insert(command.end(), flags.begin(), flags.end());
}

}  // namespace

std::string DaemonPair::SharerName(size_t index) {
  return index == 0 ? "qc2c-sharer" : absl::StrCat("qc2c-sharer-", index + 1);
}

absl::Status DaemonPair::StartSharer(const DaemonPairOptions& options, const PairedSharer& model) {
  const std::string name = SharerName(sharers_.size());
  const std::string socket = (folder_ / (name + ".sock")).string();
  Sharer& sharer = sharers_.emplace_back();
  ASSIGN_OR_RETURN(sharer.meter, SocketMeter::Start(socket + ".metered", socket));
  sharer.log = options.logs / (name + ".log");
  sharer.log_offset = SizeOf(sharer.log);
  std::vector<std::string> command = {ProgramFolder() / "qc2c-sharer", "--model", model.model,
                                      "--listen", absl::StrCat("unix:", socket)};
  Append(command, CommonFlags(options));
  if (!model.codebook.empty()) Append(command, {"--codebook", model.codebook});
  ASSIGN_OR_RETURN(ChildProcess process, ChildProcess::Start(command, sharer.log));
  sharer.process = std::make_unique<ChildProcess>(std::move(process));
  return absl::OkStatus();
}

absl::Status DaemonPair::StartReceiver(const DaemonPairOptions& options) {
  std::vector<std::string> command = {ProgramFolder() / "qc2c-receiver", "--model",
                                      options.models.receiver, "--listen", receiver_address_};
  Append(command, CommonFlags(options));
  // It waits for its sharers as long as this process does.
  Append(command,
         {"--sharer-patience-ms", absl::StrCat(absl::ToInt64Milliseconds(kReadyPatience))});
  if (!options.models.combine.empty()) Append(command, {"--combine", options.models.combine});
  for (size_t i = 0; i < sharers_.size(); ++i) {
    const PairedSharer& model = options.models.sharers[i];
    Append(command, {"--sharer",
                     absl::StrCat("unix:", (folder_ / SharerName(i)).string(), ".sock.metered")});
    if (!model.fuser.empty()) Append(command, {"--fuser", model.fuser});
    if (!model.codebook.empty()) Append(command, {"--codebook", model.codebook});
  }
  ASSIGN_OR_RETURN(ChildProcess receiver,
                   ChildProcess::Start(command, options.logs / "qc2c-receiver.log"));
  receiver_ = std::make_unique<ChildProcess>(std::move(receiver));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<DaemonPair>> DaemonPair::Start(const DaemonPairOptions& options) {
  RETURN_IF_ERROR(CheckFolders(options.models));
  std::string folder = (std::filesystem::temp_directory_path() / "qc2c-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) {  // mode 0700: nobody else can connect
    return absl::PermissionDeniedError(absl::StrCat("cannot make a folder ", folder));
  }
  std::unique_ptr<DaemonPair> pair(new DaemonPair());
  pair->folder_ = folder;
  pair->receiver_address_ = absl::StrCat("unix:", folder, "/receiver.sock");
  for (const PairedSharer& sharer : options.models.sharers) {
    RETURN_IF_ERROR(pair->StartSharer(options, sharer));
  }
  const std::filesystem::path receiver_log = options.logs / "qc2c-receiver.log";
  const uint64_t receiver_offset = SizeOf(receiver_log);
  RETURN_IF_ERROR(pair->StartReceiver(options));
  for (Sharer& sharer : pair->sharers_) {
    ASSIGN_OR_RETURN(sharer.metrics,
                     AwaitReady(*sharer.process, "qc2c-sharer", sharer.log, sharer.log_offset));
  }
  ASSIGN_OR_RETURN(pair->receiver_metrics_,
                   AwaitReady(*pair->receiver_, "qc2c-receiver", receiver_log, receiver_offset));
  return pair;
}

SocketBytes DaemonPair::socket_bytes() const {
  SocketBytes sum;
  for (const Sharer& sharer : sharers_) {
    const SocketBytes own = sharer.meter->bytes();
    sum.to_server += own.to_server;
    sum.to_client += own.to_client;
  }
  return sum;
}

DaemonPair::~DaemonPair() {
  receiver_.reset();  // first: it talks to the others
  for (Sharer& sharer : sharers_) sharer.process.reset();
  sharers_.clear();
  std::error_code error;
  std::filesystem::remove_all(folder_, error);
}

}  // namespace qc2c
