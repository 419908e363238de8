// Several sharers, each with its fuser, and one receiver.
#pragma once

#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/fuser/fuser.h"

namespace qc2c {

// A sharer's cache and the fuser of its pair. Borrowed.
struct FusionSource {
  const Fuser* fuser = nullptr;
  const SharerCache* sharer = nullptr;
};

// How one fusion sees the others, as in the reference's multi_source_fusion_mode.
enum class FusionOrder {
  kSequential,  // in order: a fuser reads the receiver's cache as the one before it left it
  kParallel,    // all fusers read the receiver's own cache; what they would add is summed
};

// "sequential" or "parallel"; INVALID_ARGUMENT otherwise.
absl::StatusOr<FusionOrder> ParseFusionOrder(std::string_view name);

// The receiver's cache with all sources fused; one after another in their order. kParallel sums
// fused - own in fp32 and rounds own + sum once, so that even a single source may differ from
// Fuser::Fuse in the last bit. Errors as those of Fuser::Fuse, naming the source by its index;
// INVALID_ARGUMENT if there is no source.
absl::StatusOr<KvCache> FuseAll(std::span<const FusionSource> sources, const KvCache& receiver,
                                FusionOrder order, const FuseOptions& options = {});

}  // namespace qc2c
