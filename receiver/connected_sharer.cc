#include "receiver/connected_sharer.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/klt_codebook.h"
#include "common/serving/channel_means_file.h"
#include "common/wire/frame_codec.h"
#include "receiver/cache_assembly.h"
#include "receiver/model_pair.h"

namespace qc2c {
namespace {

using Links = std::vector<std::unique_ptr<SharerLink>>;

KvLayerSet AllLayers(uint32_t num_layers) {
  std::vector<int32_t> layers(num_layers);
  std::iota(layers.begin(), layers.end(), 0);
  return KvLayerSet::Both(std::move(layers));
}

// The files for sharer `index`. What is nobody's, or cannot be read, goes to the first sharer,
// where loading it says what is wrong.
template <typename FingerprintOf>
std::vector<std::string> FilesOf(const std::vector<std::string>& files, const Links& links,
                                 size_t index, const FingerprintOf& fingerprint_of) {
  std::vector<std::string> own;
  for (const std::string& file : files) {
    const absl::StatusOr<uint64_t> model = fingerprint_of(file);
    const auto is_for = [&](const std::unique_ptr<SharerLink>& link) {
      return model.ok() && link->card().model_fingerprint() == *model;
    };
    if (is_for(links[index]) || (index == 0 && std::ranges::none_of(links, is_for))) {
      own.push_back(file);
    }
  }
  return own;
}

absl::StatusOr<uint64_t> ModelOfCodebook(const std::string& file) {
  ASSIGN_OR_RETURN(const KltCodebook codebook, KltCodebook::Load(file));
  return codebook.sharer_fingerprint;
}

absl::StatusOr<ConnectedSharer> LoadForSharer(const LanguageModel& receiver,
                                              const SharerOptions& options,
                                              std::unique_ptr<SharerLink> link,
                                              const SharerFiles& files) {
  ASSIGN_OR_RETURN(
      const AlignmentStrategy alignment,
      ChooseAlignment(options.alignment, options.fuser, receiver.Card(), link->card()));
  const bool maps_tokens =
      alignment == AlignmentStrategy::kFirst || alignment == AlignmentStrategy::kLongest;
  if (maps_tokens && link->card().tokenizer_json().empty()) {
    // Models of one tokenizer may differ in their templates.
    SharerLinkOptions with_files = options.link;
    with_files.known_tokenizer = 0;
    ASSIGN_OR_RETURN(link, SharerLink::Connect(with_files));
  }
  const v1::ModelCard& card = link->card();
  std::optional<Fuser> fuser;
  if (!options.fuser.empty()) {
    ASSIGN_OR_RETURN(fuser, LoadFuserOfPair(options.fuser, receiver, card));
  }
  ASSIGN_OR_RETURN(TokenPairing pairing, TokenPairing::Create(receiver, card, alignment));
  ASSIGN_OR_RETURN(KltCodebooks codebooks,
                   LoadCodebooksOfPair(files.codebooks, fuser ? &*fuser : nullptr, card));
  ASSIGN_OR_RETURN(const KvLayout layout, LayoutFromProto(card.layout()));
  ASSIGN_OR_RETURN(std::vector<ChannelMeans> calibrations,
                   LoadChannelMeansFiles(files.calibrations, card.model_fingerprint(), layout));
  return ConnectedSharer(std::move(link), std::move(fuser), std::move(pairing),
                         std::move(codebooks), std::move(calibrations));
}

}  // namespace

ConnectedSharer::ConnectedSharer(std::unique_ptr<SharerLink> link, std::optional<Fuser> fuser,
                                 TokenPairing pairing, KltCodebooks codebooks,
                                 std::vector<ChannelMeans> calibrations)
    : link_(std::move(link)),
      fuser_(std::move(fuser)),
      pairing_(std::move(pairing)),
      codebooks_(std::move(codebooks)),
      facts_(link_->facts()),
      fused_layers_(fuser_ ? LayersRead(*fuser_) : KvLayerSet()),
      all_layers_(AllLayers(card().layout().num_layers())) {
  facts_.calibrations = std::move(calibrations);
}

absl::Status ConnectedSharer::Named(const absl::Status& status) const {
  return NamedSharer(link_->address(), status);
}

absl::StatusOr<std::vector<ConnectedSharer>> ConnectSharers(
    const LanguageModel& receiver, const std::vector<SharerOptions>& options,
    const SharerFiles& files) {
  Links links;
  for (const SharerOptions& sharer : options) {
    ASSIGN_OR_RETURN(std::unique_ptr<SharerLink> link, SharerLink::Connect(sharer.link));
    links.push_back(std::move(link));
  }
  std::vector<SharerFiles> files_of;
  for (size_t i = 0; i < links.size(); ++i) {
    files_of.push_back(
        {.codebooks = FilesOf(files.codebooks, links, i, ModelOfCodebook),
         .calibrations = FilesOf(files.calibrations, links, i, ModelOfChannelMeans)});
  }
  std::vector<ConnectedSharer> sharers;
  for (size_t i = 0; i < links.size(); ++i) {
    const std::string address = links[i]->address();
    absl::StatusOr<ConnectedSharer> sharer =
        LoadForSharer(receiver, options[i], std::move(links[i]), files_of[i]);
    if (!sharer.ok()) return NamedSharer(address, sharer.status());
    sharers.push_back(*std::move(sharer));
  }
  return sharers;
}

}  // namespace qc2c
