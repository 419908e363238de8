#include "common/fuser/layer_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace qc2c {
namespace {

using ::testing::ElementsAre;

// The maps of the published pairs, as (receiver layers, sharer layers): the first layers all read
// sharer layer 0, the rest are `offset` apart.
struct MappedPair {
  int32_t receiver;
  int32_t sharer;
  int32_t last_clamped;  // -1: none
  int32_t offset;        // t -> t + offset behind the clamped ones
};

TEST(LayerMapTest, LastAlignedMapsThePublishedPairsFromTheEnd) {
  for (const MappedPair& pair :
       {MappedPair{28, 24, 4, -4}, MappedPair{28, 16, 12, -12}, MappedPair{28, 36, -1, 8},
        MappedPair{28, 28, -1, 0}, MappedPair{36, 28, 8, -8}, MappedPair{28, 26, 2, -2}}) {
    const LayerMap map = LastAlignedMap(pair.receiver, pair.sharer);
    ASSERT_EQ(map.size(), static_cast<size_t>(pair.receiver));
    for (int32_t t = 0; t < pair.receiver; ++t) {
      EXPECT_EQ(map[t], t <= pair.last_clamped ? 0 : t + pair.offset)
          << pair.receiver << " <- " << pair.sharer << ", layer " << t;
    }
    EXPECT_EQ(map.back(), pair.sharer - 1);
  }
}

TEST(LayerMapTest, KNearestMapsBySharesOfTheDepthWithTiesToTheSmallerLayer) {
  EXPECT_THAT(KNearestMap(28, 24), ElementsAre(0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 9, 10, 11, 12, 13,
                                               14, 14, 15, 16, 17, 18, 19, 20, 20, 21, 22, 23));
  EXPECT_THAT(KNearestMap(3, 2), ElementsAre(0, 0, 1));  // 1/2 is as far from 0 as from 1
}

TEST(LayerMapTest, AModelOfOneLayerSitsAtTheBeginning) {
  EXPECT_THAT(KNearestMap(1, 5), ElementsAre(0));
  EXPECT_THAT(KNearestMap(4, 1), ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(LastAlignedMap(1, 5), ElementsAre(4));
  EXPECT_THAT(LastAlignedMap(4, 1), ElementsAre(0, 0, 0, 0));
}

TEST(LayerMapTest, StrategiesAreChosenByNameAndOthersAreRefused) {
  EXPECT_EQ(*MakeLayerMap("last_aligned", 28, 24), LastAlignedMap(28, 24));
  EXPECT_EQ(*MakeLayerMap("k_nearest", 28, 24), KNearestMap(28, 24));
  const absl::Status status = MakeLayerMap("nearest", 28, 24).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("\"nearest\""));
  EXPECT_EQ(MakeLayerMap("k_nearest", 0, 24).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(LayerMapTest, ASharerLayerThatSeveralReadTravelsOnce) {
  EXPECT_THAT(SharerLayers({3, 0, 0, 1, 3}), ElementsAre(0, 1, 3));
  EXPECT_THAT(SharerLayers(LastAlignedMap(4, 5)), ElementsAre(1, 2, 3, 4));
}

}  // namespace
}  // namespace qc2c
