// Where the files that come with the program are.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"

namespace qc2c {

// The folder of this program's executable; the daemons lie beside it.
std::filesystem::path ProgramFolder();

// The folder that holds experiments/ and data/: $QC2C_ROOT, or the nearest one above the executable
// or above the working directory. NOT_FOUND says where it was looked for.
absl::StatusOr<std::filesystem::path> ProjectFolder();

// A prompt format by name ("embedded_mc", from experiments/prompts) or, with a slash or an
// extension, by path.
absl::StatusOr<std::filesystem::path> PromptFormatPath(const std::string& name);

}  // namespace qc2c
