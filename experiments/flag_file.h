// `--config FILE`: flags from a YAML map, below the flags of the command line.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace qc2c {

// `arguments` without the program's name; the first is the subcommand. Each `--config FILE` or
// `--config=FILE` is replaced by the file's flags, placed right after the subcommand so that flags
// that were typed win. Keys are flag names without dashes in front, values scalars; `true` stands
// for a flag without a value and `false` for its absence. INVALID_ARGUMENT names the file and the
// key.
absl::StatusOr<std::vector<std::string>> ExpandFlagFiles(const std::vector<std::string>& arguments);

}  // namespace qc2c
