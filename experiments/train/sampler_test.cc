#include "experiments/train/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "experiments/train/test_documents.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;

DocumentPools TwoKinds() {
  return {{"a", NumberedDocuments(10, 100)}, {"b", NumberedDocuments(10, 200)}};
}

BatchSampler MakeSampler(const DocumentPools& pools, const TrainingOptions& options,
                         BatchSampler::MixBy mix_by) {
  auto sampler = BatchSampler::Create(pools, options, mix_by);
  EXPECT_TRUE(sampler.ok()) << sampler.status();
  return std::move(sampler).value();
}

TEST(SamplerTest, APoolIsUsedUpBeforeADocumentComesAgain) {
  const DocumentPools pools = TwoKinds();
  const TrainingOptions options = SmallOptions({{4, {{"a", 1.0}}}}, 5);
  BatchSampler sampler = MakeSampler(pools, options, BatchSampler::MixBy::kDocument);
  for (int pass = 0; pass < 2; ++pass) {
    std::set<const Document*> seen;
    for (int batch = 0; batch < 2; ++batch) {
      for (const Document* document : sampler.Next()) seen.insert(document);
    }
    EXPECT_EQ(seen.size(), 10);
  }
}

TEST(SamplerTest, PhasesDrawOnlyFromTheirOwnKinds) {
  const DocumentPools pools = TwoKinds();
  const TrainingOptions options = SmallOptions({{3, {{"a", 1.0}}}, {2, {{"b", 1.0}}}}, 4);
  BatchSampler sampler = MakeSampler(pools, options, BatchSampler::MixBy::kDocument);
  for (int step = 0; step < 5; ++step) {
    for (const Document* document : sampler.Next()) {
      EXPECT_EQ(document->ids[0] >= 200, step >= 3) << "step " << step;
    }
  }
}

TEST(SamplerTest, MixByBatchNeverMixesKindsInABatch) {
  const DocumentPools pools = TwoKinds();
  const TrainingOptions options = SmallOptions({{200, {{"a", 3.0}, {"b", 1.0}}}}, 4);
  BatchSampler sampler = MakeSampler(pools, options, BatchSampler::MixBy::kBatch);
  int of_a = 0;
  for (int step = 0; step < 200; ++step) {
    const auto batch = sampler.Next();
    const bool first_is_a = batch[0]->ids[0] < 200;
    for (const Document* document : batch) EXPECT_EQ(document->ids[0] < 200, first_is_a);
    of_a += first_is_a;
  }
  // 200 draws at 3/4: four standard deviations are 24.5.
  EXPECT_NEAR(of_a, 150, 25);
}

TEST(SamplerTest, SkippingEqualsDrawing) {
  const DocumentPools pools = TwoKinds();
  const TrainingOptions options = SmallOptions({{20, {{"a", 0.5}, {"b", 0.5}}}}, 7);
  BatchSampler drawn = MakeSampler(pools, options, BatchSampler::MixBy::kDocument);
  BatchSampler skipped = MakeSampler(pools, options, BatchSampler::MixBy::kDocument);
  for (int step = 0; step < 13; ++step) drawn.Next();
  skipped.SkipTo(13);
  for (int step = 13; step < 20; ++step) EXPECT_EQ(drawn.Next(), skipped.Next());
}

TEST(SamplerTest, AKindWithoutDocumentsIsNamed) {
  const DocumentPools pools = TwoKinds();
  const auto sampler = BatchSampler::Create(pools, SmallOptions({{1, {{"c", 1.0}}}}, 1),
                                            BatchSampler::MixBy::kBatch);
  EXPECT_THAT(std::string(sampler.status().message()), HasSubstr("kind 'c'"));
}

}  // namespace
}  // namespace qc2c
