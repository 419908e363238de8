#include "common/wire/peer_codecs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qc2c {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::ModelCard Card() {
  v1::ModelCard card;
  card.set_model("m");
  DescribeCodecs(card);
  return card;
}

std::string ErrorOf(const v1::ModelCard& card, const std::string& codec) {
  const absl::Status status = CheckSharerKnows(card, CodecSpec::Parse(codec).value());
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  return std::string(status.message());
}

TEST(PeerCodecsTest, ACardListsEveryEnumeratorButUnspecified) {
  const v1::ModelCard card = Card();
  EXPECT_EQ(card.schemes_size(), v1::Scheme_MAX);
  EXPECT_EQ(card.selections_size(), v1::Selection_MAX - 2);  // but those that need a receiver
  EXPECT_THAT(card.entropies(), ElementsAre(v1::ENTROPY_NONE, v1::ENTROPY_RANS, v1::ENTROPY_ZSTD));
  EXPECT_THAT(card.axes(),
              ElementsAre(v1::AXIS_PER_TOKEN, v1::AXIS_PER_HEAD, v1::AXIS_PER_LAYER,
                          v1::AXIS_PER_CHANNEL, v1::AXIS_GROUP, v1::AXIS_GROUP_TOKENS));
  EXPECT_THAT(card.treatments(), ElementsAre(v1::TREATMENT_ROTATION_REMOVE,
                                             v1::TREATMENT_MEAN_CALIBRATED, v1::TREATMENT_HADAMARD,
                                             v1::TREATMENT_ZERO_POINT, v1::TREATMENT_MEAN_BIAS));
  EXPECT_TRUE(CheckFormatVersion(card).ok());
  for (const char* codec :
       {"bf16", "int4,entropy=rans", "nf4,axis=group", "int8,select=random,keep_tokens=3",
        "int8,keys=0:nf4", "int8,budget_bytes=900",
        "int8,select=key_norm,indices=per_layer,keep_tokens=3",
        "int8,select=attention,keep_tokens=3", "int4,axis=group,group=8,scale=two_level"}) {
    EXPECT_TRUE(CheckSharerKnows(card, CodecSpec::Parse(codec).value()).ok()) << codec;
  }
}

TEST(PeerCodecsTest, WhatASharerDoesNotListIsRefusedByName) {
  v1::ModelCard old;
  old.set_model("m");
  old.add_schemes(v1::SCHEME_INT8);
  old.add_schemes(v1::SCHEME_BF16);
  old.add_axes(v1::AXIS_PER_TOKEN);
  old.add_selections(v1::SELECTION_ALL);
  EXPECT_THAT(ErrorOf(old, "nf4"),
              HasSubstr("scheme is nf4, which the sharer's model 'm' does not write: expected one "
                        "of int8, bf16"));
  EXPECT_THAT(ErrorOf(old, "int8,axis=group"), HasSubstr("axis is group, which"));
  EXPECT_THAT(ErrorOf(old, "bf16,select=back,keep_tokens=1"), HasSubstr("select is back, which"));
  EXPECT_THAT(ErrorOf(old, "int8,entropy=rans"), HasSubstr("entropy is rans, which"));
  EXPECT_TRUE(CheckSharerKnows(old, CodecSpec::Parse("bf16").value()).ok());
  EXPECT_THAT(ErrorOf(old, "bf16,select=all,budget_bytes=9"), HasSubstr("not know budget_bytes"));
  EXPECT_THAT(ErrorOf(old, "bf16,keys=0:int8"), HasSubstr("'m' does not know keys and values"));
  old.add_codec_options(v1::CODEC_OPTION_SCHEDULE);
  EXPECT_THAT(ErrorOf(old, "bf16,keys=0:nf4"), HasSubstr("scheme is nf4, which"));
  EXPECT_THAT(ErrorOf(old, "bf16,keys=0:int8:group8"), HasSubstr("axis is group, which"));
  EXPECT_TRUE(CheckSharerKnows(old, CodecSpec::Parse("bf16,keys=0:int8").value()).ok());
  EXPECT_THAT(
      ErrorOf(old, "int8,rotation=remove"),
      HasSubstr("treatment is rotation=remove, which the sharer's model 'm' does not write: "
                "expected one of none"));
  old.add_treatments(v1::TREATMENT_ROTATION_REMOVE);
  EXPECT_THAT(ErrorOf(old, "int8,rotation=remove,hadamard=keys"),
              HasSubstr("treatment is hadamard, which"));
  old.add_treatments(v1::TREATMENT_MEAN_CALIBRATED);
  const char* const means = "int8,rotation=remove,mean=calibrated,calibration=00000000000000ff";
  EXPECT_THAT(ErrorOf(old, means),
              HasSubstr("calibration is 00000000000000ff, which the sharer of model 'm' does not "
                        "hold: expected one of none"));
  EXPECT_THAT(ErrorOf(old, "int8,rotation=remove,mean=bias"),
              HasSubstr("treatment is mean=bias, which"));
  old.add_treatments(v1::TREATMENT_MEAN_BIAS);
  EXPECT_THAT(ErrorOf(old, "int8,rotation=remove,mean=bias"),
              HasSubstr("the projections of the sharer's model 'm' have none"));
  old.add_calibrations(0xff);
  EXPECT_TRUE(CheckSharerKnows(old, CodecSpec::Parse(means).value()).ok());
  old.add_selections(v1::SELECTION_KEY_NORM);
  EXPECT_THAT(ErrorOf(old, "int8,select=attention,keep_tokens=3"),
              HasSubstr("select is attention, which"));
  EXPECT_THAT(ErrorOf(Card(), "int8,select=projected_norm,keep_tokens=3"),
              HasSubstr("select is projected_norm, which the sharer's model"));
  EXPECT_THAT(ErrorOf(old, "int8,axis=group,scale=two_level"),
              HasSubstr("'m' does not know scale=two_level"));
  EXPECT_THAT(ErrorOf(old, "int8,select=key_norm,indices=per_layer,keep_tokens=3"),
              HasSubstr("'m' does not know indices=per_layer"));
  old.add_schemes(static_cast<v1::Scheme>(99));  // of a newer build
  EXPECT_THAT(ErrorOf(old, "nf4"), HasSubstr("int8, bf16, unknown"));
}

TEST(PeerCodecsTest, AnotherFormatVersionIsRefusedByNumber) {
  v1::ModelCard card = Card();
  card.set_format_version(1);
  const absl::Status status = CheckFormatVersion(card);
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("writes caches of 1: expected 2"));
}

}  // namespace
}  // namespace qc2c
