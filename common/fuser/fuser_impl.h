// What fuser.cc (fusing) and fuser_checkpoint.cc (files) share.
#pragma once

#include <cstdint>
#include <vector>

#include "common/fuser/fuser.h"
#include "common/fuser/fusion.h"
#include "common/fuser/projector.h"

namespace qc2c {

struct Fuser::Impl {
  // Allocated, not initialised. Throws what torch throws.
  Impl(const FuserConfig& fuser_config, const ModelOptions& model_options);

  // The halves to fuse, all inputs checked. Borrows `this` and all arguments.
  absl::StatusOr<Fusion> Prepare(const SharerCache& sharer, const KvCache& receiver,
                                 const FuseOptions& fuse) const;

  FuserConfig config;
  ModelOptions options;
  Projectors projectors;
  NamedTensors named;
  uint64_t fingerprint = 0;
};

// INVALID_ARGUMENT naming the field.
absl::Status CheckFuser(const FuserConfig& config, const ModelOptions& options);

}  // namespace qc2c
