// Whether a receiver, a sharer and a fuser belong together, and how their tokens are aligned.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/codec/klt_codebooks.h"
#include "common/fuser/fuser.h"
#include "common/serving/language_model.h"
#include "common/text/alignment.h"
#include "qc2c/v1/sharer.pb.h"

namespace qc2c {

// The strategy that `flag` names, or for "auto": the one that the fuser was trained with, as
// FOLDER/config.json says (model.alignment, or the reference's model.is_do_alignment and
// model.alignment_strategy); if it says nothing, or `folder` is empty, same_ids for equal
// tokenizers and span for others. INVALID_ARGUMENT for an unknown flag, DATA_LOSS for a file that
// is malformed or names an unknown strategy.
absl::StatusOr<AlignmentStrategy> ChooseAlignment(const std::string& flag,
                                                  const std::filesystem::path& folder,
                                                  const v1::ModelCard& receiver,
                                                  const v1::ModelCard& sharer);

// Caches of two models can have the same shape, so a fuser's tensors do not show which pair it was
// trained for. FOLDER/config.json may: model.base_fingerprint and model.teacher_fingerprint, in
// HashText's form. FAILED_PRECONDITION naming the field if one is there and differs, DATA_LOSS if
// the file is malformed; checkpoints that say nothing are taken.
absl::Status CheckFuserPair(const std::filesystem::path& folder, const v1::ModelCard& receiver,
                            const v1::ModelCard& sharer);

// CheckFuserPair, then the fuser, on the receiver's device and in its dtype. Errors as above and as
// Fuser::Load; a bad file is DATA_LOSS.
absl::StatusOr<Fuser> LoadFuserOfPair(const std::filesystem::path& folder,
                                      const LanguageModel& receiver, const v1::ModelCard& sharer);

// The codebooks of this sharer and this fuser. Errors as KltCodebooks::Load; FAILED_PRECONDITION
// for one of another fuser, or one that the sharer does not hold too.
absl::StatusOr<KltCodebooks> LoadCodebooksOfPair(const std::vector<std::string>& files,
                                                 const Fuser* fuser, const v1::ModelCard& sharer);

}  // namespace qc2c
