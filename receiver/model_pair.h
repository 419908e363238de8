// Whether a receiver, a sharer and a fuser belong together.
#pragma once

#include <cstdint>
#include <filesystem>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/fuser/fuser.h"
#include "common/serving/language_model.h"
#include "qc2c/v1/sharer.pb.h"

namespace qc2c {

// Both models must read the same tokens: slot i of one cache is fused with slot i of the other.
// FAILED_PRECONDITION naming both hashes.
absl::Status CheckTokenizers(const v1::ModelCard& receiver, const v1::ModelCard& sharer);

// Caches of two models can have the same shape, so a fuser's tensors do not show which pair it was
// trained for. FOLDER/config.json may: model.base_fingerprint and model.teacher_fingerprint, in
// HashText's form. FAILED_PRECONDITION naming the field if one is there and differs, DATA_LOSS if
// the file is malformed; checkpoints that say nothing are taken.
absl::Status CheckFuserPair(const std::filesystem::path& folder, const v1::ModelCard& receiver,
                            const v1::ModelCard& sharer);

// Both checks, then the fuser, on the receiver's device and in its dtype. Errors as above and as
// Fuser::Load; a bad file is DATA_LOSS.
absl::StatusOr<Fuser> LoadFuserOfPair(const std::filesystem::path& folder,
                                      const LanguageModel& receiver, const v1::ModelCard& sharer);

}  // namespace qc2c
