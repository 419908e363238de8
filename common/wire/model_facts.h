// What a model card says of the facts that a codec may need (codec_context.h).
#pragma once

#include "absl/status/statusor.h"
#include "common/codec/codec_context.h"
#include "qc2c/v1/sharer.pb.h"

namespace qc2c {

v1::KeyRotation RotationToProto(const KeyRotation& rotation);
v1::ProjectionBiases BiasesToProto(const ChannelMeans& biases);

// The rotation and biases of the card's model; without a rotation in the card an empty one, which
// fits no codec that needs it. Calibrations are left for the caller. INVALID_ARGUMENT naming the
// field that does not fit the card's layout.
absl::StatusOr<ModelFacts> FactsOfCard(const v1::ModelCard& card);

}  // namespace qc2c
