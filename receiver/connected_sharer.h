// One of a receiver's sharers, with all that belongs to that one alone: connection, fuser, token
// pairing, codebooks and channel means.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/codec/codec_context.h"
#include "common/codec/klt_codebooks.h"
#include "common/codec/layer_set.h"
#include "common/fuser/fuser.h"
#include "common/serving/language_model.h"
#include "receiver/sharer_link.h"
#include "receiver/token_pairing.h"

namespace qc2c {

// Movable until it serves; thread-safe then.
class ConnectedSharer {
 public:
  // What was loaded for the sharer behind `link`, which must not be null.
  ConnectedSharer(std::unique_ptr<SharerLink> link, std::optional<Fuser> fuser,
                  TokenPairing pairing, KltCodebooks codebooks = {},
                  std::vector<ChannelMeans> calibrations = {});

  SharerLink& link() const { return *link_; }
  const v1::ModelCard& card() const { return link_->card(); }
  const Fuser* fuser() const { return fuser_ ? &*fuser_ : nullptr; }  // nullptr: no MODE_FUSED
  const TokenPairing& pairing() const { return pairing_; }
  const KltCodebooks& codebooks() const { return codebooks_; }
  // What a codec may need to know of the sharer's model.
  const ModelFacts& facts() const { return facts_; }
  // What the fuser reads: the tensors behind an open gate. Empty without a fuser.
  const KvLayerSet& fused_layers() const { return fused_layers_; }
  // What a prefix consists of.
  const KvLayerSet& all_layers() const { return all_layers_; }

  // The status with the sharer's address in front of its message; OK stays OK.
  absl::Status Named(const absl::Status& status) const;

 private:
  std::unique_ptr<SharerLink> link_;
  std::optional<Fuser> fuser_;
  TokenPairing pairing_;
  KltCodebooks codebooks_;
  ModelFacts facts_;
  KvLayerSet fused_layers_;
  KvLayerSet all_layers_;
};

struct SharerOptions {
  SharerLinkOptions link;
  std::filesystem::path fuser;     // folder; empty: none
  std::string alignment = "auto";  // as ChooseAlignment reads it
};

// Files that say themselves which sharer's model they are for.
struct SharerFiles {
  std::vector<std::string> codebooks;
  std::vector<std::string> calibrations;  // channel means
};

// Connects to the sharers, in this order, and loads what belongs to each; a file goes to the
// sharers of its model. Borrows `receiver`. Errors as those of SharerLink::Connect,
// LoadFuserOfPair, ChooseAlignment, TokenPairing::Create, LoadCodebooksOfPair and
// LoadChannelMeans; FAILED_PRECONDITION for a file of none of the sharers. REQUIRES: at least one.
absl::StatusOr<std::vector<ConnectedSharer>> ConnectSharers(
    const LanguageModel& receiver, const std::vector<SharerOptions>& options,
    const SharerFiles& files);

}  // namespace qc2c
