#include "receiver/receiver_options.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/serving/daemon.h"

namespace qc2c {
namespace {

absl::Status CheckCount(const std::string& flag, size_t count, size_t least, size_t num_sharers) {
  if (count == least || count == num_sharers) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--", flag, " is given ", count,
                                                 " times: expected ", least, ", or ", num_sharers,
                                                 ", once for each --sharer"));
}

}  // namespace

absl::StatusOr<std::vector<SharerOptions>> ReceiverOptions::Sharers(
    uint64_t known_tokenizer) const {
  RETURN_IF_ERROR(CheckCount("fuser", fusers.size(), 0, sharers.size()));
  if (alignments.size() != 1) {
    RETURN_IF_ERROR(CheckCount("alignment", alignments.size(), 0, sharers.size()));
  }
  std::vector<SharerOptions> options;
  for (size_t i = 0; i < sharers.size(); ++i) {
    SharerOptions sharer{.link = {.address = sharers[i],
                                  .access = AccessOf(daemon),
                                  .patience = std::chrono::milliseconds(sharer_patience_ms),
                                  .timeout = std::chrono::milliseconds(sharer_timeout_ms),
                                  .known_tokenizer = known_tokenizer}};
    if (!fusers.empty()) sharer.fuser = fusers[i];
    if (!alignments.empty()) sharer.alignment = alignments[alignments.size() == 1 ? 0 : i];
    options.push_back(std::move(sharer));
  }
  return options;
}

void AddReceiverFlags(CLI::App& app, ReceiverOptions& options) {
  AddDaemonFlags(app, options.daemon);
  app.add_option(
         "--sharer", options.sharers,
         "A sharer: unix:PATH or HOST:PORT. May be repeated: fused answers take all of them")
      ->required()
      ->allow_extra_args(false);
  app.add_option("--fuser", options.fusers,
                 "Fuser folder for this (sharer, receiver) pair; once for each --sharer, in their "
                 "order. Without any there are no fused answers")
      ->allow_extra_args(false);
  app.add_option(
         "--combine", options.combine,
         "How several sharers are fused. sequential: in the order of --sharer, each on what "
         "the one before it left; parallel: each on the receiver's own cache, and what they "
         "add is summed")
      ->capture_default_str()
      ->check(CLI::IsMember({"sequential", "parallel"}));
  app.add_option(
         "--alignment", options.alignments,
         "How tokens of the two models are paired: same_ids, first, longest or span; auto "
         "(the default): as the fuser's config.json says, else same_ids for equal tokenizers "
         "and span for others. Once, or once for each --sharer")
      ->allow_extra_args(false)
      ->check(CLI::IsMember({"auto", "same_ids", "first", "longest", "span"}));
  app.add_option("--calibration", options.files.calibrations,
                 "A file of a sharer's channel means for codecs with mean=calibrated (qc2c means); "
                 "may be repeated")
      ->allow_extra_args(false);
  AddCodebookFlag(app, options.files.codebooks);
  app.add_option("--sharer-patience-ms", options.sharer_patience_ms,
                 "Milliseconds to wait for a sharer at start")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--sharer-timeout-ms", options.sharer_timeout_ms,
                 "Milliseconds that one call to a sharer may take")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--workers", options.workers, "Batches under way at a time")
      ->capture_default_str()
      ->check(CLI::Range(1, 16));
}

}  // namespace qc2c
