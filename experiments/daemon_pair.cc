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
  for (const std::filesystem::path& folder : {models.receiver, models.sharer, models.fuser}) {
    if (!folder.empty() && !std::filesystem::is_directory(folder)) {
      return absl::NotFoundError(
          absl::StrCat("pair ", models.name, ": no folder ", folder.string()));
    }
  }
  if (!models.codebook.empty() && !std::filesystem::is_regular_file(models.codebook)) {
    return absl::NotFoundError(
        absl::StrCat("pair ", models.name, ": no codebook ", models.codebook.string()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<DaemonPair>> DaemonPair::Start(const DaemonPairOptions& options) {
  RETURN_IF_ERROR(CheckFolders(options.models));
  std::string folder = (std::filesystem::temp_directory_path() / "qc2c-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) {  // mode 0700: nobody else can connect
    return absl::PermissionDeniedError(absl::StrCat("cannot make a folder ", folder));
  }
  std::unique_ptr<DaemonPair> pair(new DaemonPair());
  pair->folder_ = folder;
  pair->receiver_address_ = absl::StrCat("unix:", folder, "/receiver.sock");
  const std::string sharer_address = absl::StrCat("unix:", folder, "/sharer.sock");
  const std::string metered_address = absl::StrCat("unix:", folder, "/metered.sock");
  ASSIGN_OR_RETURN(pair->meter_,
                   SocketMeter::Start(folder + "/metered.sock", folder + "/sharer.sock"));
  std::vector<std::string> common = {"--device",    options.device, "--dtype",
                                     options.dtype, "--threads",    absl::StrCat(options.threads),
                                     "--metrics",   "127.0.0.1:0"};
  if (!options.models.codebook.empty()) {
    common.insert(common.end(), {"--codebook", options.models.codebook});
  }
  if (options.max_batch_size > 0) {
    // Room for so many prompts of the usual length.
    constexpr int kTokensAPrompt = 256;
    common.insert(common.end(),
                  {"--max-batch-size", absl::StrCat(options.max_batch_size), "--max-batch-tokens",
                   absl::StrCat(options.max_batch_size * kTokensAPrompt)});
  }
  const std::filesystem::path sharer_log = options.logs / "qc2c-sharer.log";
  const std::filesystem::path receiver_log = options.logs / "qc2c-receiver.log";
  const uint64_t sharer_offset = SizeOf(sharer_log);
  const uint64_t receiver_offset = SizeOf(receiver_log);

  std::vector<std::string> command = {ProgramFolder() / "qc2c-sharer", "--model",
                                      options.models.sharer, "--listen", sharer_address};
  command.insert(command.end(), common.begin(), common.end());
  ASSIGN_OR_RETURN(ChildProcess sharer, ChildProcess::Start(command, sharer_log));
  pair->sharer_ = std::make_unique<ChildProcess>(std::move(sharer));

  command = {ProgramFolder() / "qc2c-receiver",
             "--model",
             options.models.receiver,
             "--sharer",
             metered_address,
             "--listen",
             pair->receiver_address_};
  if (!options.models.fuser.empty()) {
    command.insert(command.end(), {"--fuser", options.models.fuser});
  }
  command.insert(command.end(), common.begin(), common.end());
  ASSIGN_OR_RETURN(ChildProcess receiver, ChildProcess::Start(command, receiver_log));
  pair->receiver_ = std::make_unique<ChildProcess>(std::move(receiver));

  ASSIGN_OR_RETURN(pair->sharer_metrics_,
                   AwaitReady(*pair->sharer_, "qc2c-sharer", sharer_log, sharer_offset));
  ASSIGN_OR_RETURN(pair->receiver_metrics_,
                   AwaitReady(*pair->receiver_, "qc2c-receiver", receiver_log, receiver_offset));
  return pair;
}

DaemonPair::~DaemonPair() {
  receiver_.reset();  // first: it talks to the other
  sharer_.reset();
  meter_.reset();
  std::error_code error;
  std::filesystem::remove_all(folder_, error);
}

}  // namespace qc2c
