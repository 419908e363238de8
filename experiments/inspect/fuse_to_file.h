// One prompt through a pair (or several sharers), its fused cache as a file: what another
// implementation can be compared with.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/status/statusor.h"
#include "common/fuser/several_sharers.h"
#include "common/model/model.h"

namespace qc2c {

struct FuseRequest {
  std::filesystem::path receiver;                 // model folder
  std::vector<std::filesystem::path> sharers;     // model folders
  std::vector<std::filesystem::path> fusers;      // one a sharer
  std::filesystem::path receiver_ids;             // a JSON list of N token ids, N at least 2
  std::vector<std::filesystem::path> sharer_ids;  // one a sharer, each N ids: slot i pairs with i
  FusionOrder order = FusionOrder::kSequential;
  ModelOptions options;
  std::filesystem::path out;
};

// Prefills all models with all ids but the last, fuses, runs the receiver's last token on the fused
// cache, and writes a safetensors file: "k.<layer>" and "v.<layer>" [H, N, D] of the receiver and
// "logits" [1, V] of the last token, in the models' dtype. Returns what was done. Errors as those
// of Model::Load, Fuser::Load and FuseAll; INVALID_ARGUMENT naming the file of ids that is no list
// of ids, of another length, or not of the model's vocabulary.
absl::StatusOr<nlohmann::ordered_json> FuseToFile(const FuseRequest& request);

}  // namespace qc2c
