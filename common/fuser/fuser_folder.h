// Which files a fuser's folder holds, and what its JSON files say.
#pragma once

#include <filesystem>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/fuser/fuser.h"

namespace qc2c {

struct FuserFolder {
  std::filesystem::path folder;  // the one with projector_config.json: FOLDER/final or FOLDER
  FuserConfig config;            // sharer.num_layers: only as many as the layer map reads
  std::vector<std::filesystem::path> tensors;  // of receiver layer t: .pt or .safetensors

  // All files that the fuser is made of, each layer's once, in a fixed order.
  std::vector<std::filesystem::path> Files() const;
};

// Reads projector_config.json and the JSON file of each projector that it names first for a layer;
// the others are never used, as in the reference. Absent arguments have the reference's defaults.
// NOT_FOUND for a missing file. INVALID_ARGUMENT naming file and field for an unknown class, an
// argument that is unknown, of a wrong type or out of range, layers of different sizes, and a
// projector in two formats. FAILED_PRECONDITION for a projector that no layer names.
absl::StatusOr<FuserFolder> ReadFuserFolder(const std::filesystem::path& folder);

// FAILED_PRECONDITION naming what differs unless the fuser is for this receiver and this sharer.
absl::Status CheckPair(const FuserFolder& folder, const KvLayout& receiver, const KvLayout& sharer);

// Writes projector_config.json and the JSON files of all layers, projector t for layer t.
absl::Status WriteFuserJson(const std::filesystem::path& folder, const FuserConfig& config,
                            at::ScalarType dtype);

// FOLDER/projector_{index}{extension}.
std::filesystem::path ProjectorFile(const std::filesystem::path& folder, int32_t index,
                                    const char* extension);

}  // namespace qc2c
