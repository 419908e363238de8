#include "common/wire/model_facts.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/wire/frame_codec.h"

namespace qc2c {

namespace {

absl::Status CheckBiases(const char* half, const std::vector<float>& biases,
                         const KvLayout& layout) {
  const auto expected =
      static_cast<size_t>(layout.num_layers) * layout.num_kv_heads * layout.head_dim;
  if (biases.size() != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat("biases.", half, " has ", biases.size(), " numbers: expected ", expected));
  }
  if (std::ranges::all_of(biases, [](float bias) { return std::isfinite(bias); })) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("biases.", half, " holds NaN or infinity: expected finite numbers"));
}

absl::StatusOr<ChannelMeans> BiasesOfCard(const v1::ModelCard& card) {
  ASSIGN_OR_RETURN(const KvLayout layout, LayoutFromProto(card.layout()));
  const v1::ProjectionBiases& proto = card.biases();
  ChannelMeans biases = {.id = 0,
                         .layout = layout,
                         .keys = {proto.keys().begin(), proto.keys().end()},
                         .values = {proto.values().begin(), proto.values().end()}};
  RETURN_IF_ERROR(CheckBiases("keys", biases.keys, layout));
  RETURN_IF_ERROR(CheckBiases("values", biases.values, layout));
  return biases;
}

}  // namespace

v1::KeyRotation RotationToProto(const KeyRotation& rotation) {
  v1::KeyRotation proto;
  for (const std::vector<float>& frequencies : rotation.frequencies) {
    proto.add_frequencies()->mutable_inverse()->Assign(frequencies.begin(), frequencies.end());
  }
  proto.mutable_of_layer()->Assign(rotation.of_layer.begin(), rotation.of_layer.end());
  return proto;
}

v1::ProjectionBiases BiasesToProto(const ChannelMeans& biases) {
  v1::ProjectionBiases proto;
  proto.mutable_keys()->Assign(biases.keys.begin(), biases.keys.end());
  proto.mutable_values()->Assign(biases.values.begin(), biases.values.end());
  return proto;
}

absl::StatusOr<ModelFacts> FactsOfCard(const v1::ModelCard& card) {
  ModelFacts facts;
  if (card.has_biases()) {
    ASSIGN_OR_RETURN(facts.biases, BiasesOfCard(card));
  }
  if (!card.has_rotation()) return facts;
  for (const v1::KeyRotation::Frequencies& frequencies : card.rotation().frequencies()) {
    facts.rotation.frequencies.emplace_back(frequencies.inverse().begin(),
                                            frequencies.inverse().end());
  }
  facts.rotation.of_layer.assign(card.rotation().of_layer().begin(),
                                 card.rotation().of_layer().end());
  ASSIGN_OR_RETURN(const KvLayout layout, LayoutFromProto(card.layout()));
  RETURN_IF_ERROR(facts.rotation.Validate(layout));
  return facts;
}

}  // namespace qc2c
