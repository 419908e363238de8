// Three counts of the same bytes: the sharer's, the receiver's, and the sum over the driver's
// answers.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "experiments/runner.h"

namespace qc2c {

struct ByteAgreement {
  bool agrees = false;
  // Every question was asked once and answered. Otherwise the counts may differ with nothing lost:
  // the daemons also count what crossed for questions that failed or were asked again.
  bool comparable = false;
  std::string table;  // for the terminal
};

// From the text of both metrics pages (of several sharers: one after another) and what the driver
// was told in the same session. The daemons must have been started for this session and have served
// nobody else. INVALID_ARGUMENT for a page that is none.
absl::StatusOr<ByteAgreement> CompareByteCounts(const std::string& sharer_page,
                                                const std::string& receiver_page,
                                                const SessionTotals& session);

}  // namespace qc2c
