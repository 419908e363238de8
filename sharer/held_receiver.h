// A receiver's model and its fuser in the sharer's hands, for the selections that ask what the
// receiver will make of a token: projected_norm and residual_norm.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <vector>

#include "absl/status/statusor.h"
#include "common/codec/codec.h"
#include "common/fuser/fuser.h"
#include "common/model/model.h"
#include "common/serving/language_model.h"

namespace qc2c {

struct HeldReceiver {
  Model model;
  Fuser fuser;
  uint64_t bytes = 0;  // of both's weights in memory: what a question is not charged with

  // On the sharer's device and in its dtype. FAILED_PRECONDITION if the receiver reads other ids
  // than the sharer (another tokenizer) or the fuser is of models of other shapes; errors of the
  // files as LanguageModel::Load and Fuser::Load.
  static absl::StatusOr<HeldReceiver> Load(const std::filesystem::path& receiver,
                                           const std::filesystem::path& fuser,
                                           const LanguageModel& sharer);

  // The score of each token for each sharer layer, [L, N] fp32: the sum over the receiver layers
  // that read its values of the mean over heads of
  //   |own + residual|   projected_norm, the value that the receiver goes on with
  //   |residual|         residual_norm
  // where `own` is the receiver's value of the token, after its own prefill of `ids`, and residual
  // what the fuser adds to it, given the sharer's unquantized cache: 0 where the gate is closed.
  // Row `row` of `sharer` begins with the N ids. INVALID_ARGUMENT if the receiver cannot read them.
  absl::StatusOr<at::Tensor> Scores(Selection selection, const std::vector<int32_t>& ids,
                                    const KvCache& sharer, int64_t row) const;
};

}  // namespace qc2c
