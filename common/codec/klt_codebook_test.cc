#include "common/codec/klt_codebook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>

#include "common/base/hash.h"
#include "common/codec/test_codebook.h"

namespace qc2c {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string Refusal(const CodebookFile& file) {
  const std::string bytes = file.Bytes();
  const absl::StatusOr<KltCodebook> book = KltCodebook::Parse(AsBytes(bytes), "book");
  return std::string(book.status().message());
}

TEST(KltCodebookTest, ReadsWhatTheFileSays) {
  const std::string bytes = TestCodebookFile().Bytes();
  const absl::StatusOr<KltCodebook> book = KltCodebook::Parse(AsBytes(bytes), "book");
  ASSERT_TRUE(book.ok()) << book.status();
  EXPECT_EQ(book->id, Hash(AsBytes(bytes)));
  EXPECT_EQ(book->sharer_fingerprint, kTestSharer);
  EXPECT_EQ(book->fuser_fingerprint, 0xff);
  EXPECT_EQ(book->layout, kTestLayout);
  EXPECT_EQ(book->layers, (KvLayerSet{.keys = {1}, .values = {0, 1}}));
  EXPECT_EQ(book->Dim(Half::kKey), 8);
  EXPECT_EQ(book->Dim(Half::kValue), 16);
  EXPECT_THAT(book->prompt_template.prefix_positions, ElementsAre(0, 2));
  EXPECT_EQ(book->levels[3], (KltLevel{.middle_step = -4, .tail_step = -8, .joint_step = -12}));
  EXPECT_EQ(book->tail_mean[1][2 * 16 + 3], TestMean(3, 1, 3));
  EXPECT_THAT(book->KeptTokens(book->levels[1], 7), ElementsAre(5, 6));
  EXPECT_THAT(book->KeptTokens(book->levels[0], 3), ElementsAre(0, 1, 2));
}

TEST(KltCodebookTest, AStepIsAPowerOfTheFourthRootOfTwo) {
  for (int exponent = -60; exponent <= 60; ++exponent) {
    EXPECT_FLOAT_EQ(KltPower(exponent), static_cast<float>(std::exp2(exponent / 4.0)));
  }
  EXPECT_EQ(KltPower(0), 1.0f);
  EXPECT_EQ(KltPower(-8), 0.25f);
}

TEST(KltCodebookTest, ComponentsFarBelowTheStepAreNotSent) {
  const KltBasis basis{.sigma = {4, 0, -7, -8, -9}};
  EXPECT_EQ(basis.NumSent(4), 4);
  EXPECT_EQ(basis.NumSent(17), 0);
  EXPECT_EQ(basis.NumSent(-20), 5);
}

TEST(KltCodebookTest, WrongMetadataAreRefusedByName) {
  const auto refusal = [](const char* pointer, const nlohmann::ordered_json& value) {
    CodebookFile file = TestCodebookFile();
    file.metadata[nlohmann::ordered_json::json_pointer(pointer)] = value;
    return Refusal(file);
  };
  EXPECT_EQ(Refusal(TestCodebookFile()), "");
  EXPECT_THAT(refusal("/version", 2), HasSubstr("metadata.version"));
  EXPECT_THAT(refusal("/sharer/fingerprint", "xyz"), HasSubstr("sharer.fingerprint"));
  EXPECT_THAT(refusal("/sharer/num_layers", 0), HasSubstr("sharer.num_layers"));
  EXPECT_THAT(refusal("/fuser", 3), HasSubstr("metadata.fuser"));
  EXPECT_THAT(refusal("/key_layers", {1, 1}), HasSubstr("key_layers"));
  EXPECT_THAT(refusal("/value_layers", {3}), HasSubstr("value_layers"));
  EXPECT_THAT(refusal("/rotation_of_layer", {0, 0, 1}), HasSubstr("rotation"));
  EXPECT_THAT(refusal("/prefix_ids", {7, 8}), HasSubstr("prefix_ids"));
  EXPECT_THAT(refusal("/tail_distances", {2, 1, 1}), HasSubstr("tail_distances"));
  EXPECT_THAT(refusal("/joint_tokens", 4), HasSubstr("joint_tokens"));
  EXPECT_THAT(refusal("/levels", nlohmann::ordered_json::array()), HasSubstr("levels has 0"));
  EXPECT_THAT(refusal("/levels/1/last_tokens", 1), HasSubstr("levels[1]"));
  EXPECT_THAT(refusal("/levels/1/middle_step", 0), HasSubstr("levels[1]"));
  EXPECT_THAT(refusal("/levels/2/tail_step", 1.5), HasSubstr("levels[2].tail_step"));
  EXPECT_THAT(refusal("/levels/2/tail_step", -80), HasSubstr("levels[2].tail_step"));
}

TEST(KltCodebookTest, WrongTensorsAreRefusedByName) {
  const auto with = [](const std::function<void(CodebookFile&)>& change) {
    CodebookFile file = TestCodebookFile();
    change(file);
    return Refusal(file);
  };
  EXPECT_THAT(with([](auto& f) { f.tensors.erase("tail.keys.mean"); }),
              HasSubstr("tensor tail.keys.mean is missing"));
  EXPECT_THAT(with([](auto& f) { f.tensors["extra"] = f.tensors["joint.sigma"]; }),
              HasSubstr("tensor extra has no place"));
  EXPECT_THAT(with([](auto& f) { f.tensors["joint.analysis"].shape = {48 * 48, 1}; }),
              HasSubstr("tensor joint.analysis has shape [2304, 1]: expected [48, 48]"));
  EXPECT_THAT(with([](auto& f) { f.tensors["joint.sigma"].dtype = "BF16"; }),
              HasSubstr("tensor joint.sigma has dtype BF16"));
  EXPECT_THAT(
      with([](auto& f) { f.Add("middle.keys.mean", "F32", {8}, std::vector<float>(8, NAN)); }),
      HasSubstr("tensor middle.keys.mean value 0 is not finite"));
  EXPECT_THAT(with([](auto& f) {
                f.Add("tail.keys.sigma", "I16", {8}, std::vector<int16_t>{1, 1, 2, 1, 1, 1, 1, 1});
              }),
              HasSubstr("tensor tail.keys.sigma ascends at 2"));
  EXPECT_THAT(
      with([](auto& f) { f.Add("tail.keys.shape", "I16", {8}, std::vector<int16_t>(8, 2)); }),
      HasSubstr("tensor tail.keys.shape value 0 is 2"));
  EXPECT_THAT(with([](auto& f) {
                std::vector<int16_t> tables = TestTables();
                ++tables[0];
                f.Add("tables", "I16", {kKltNumShapes, kKltNumSpreads, kKltNumSymbols}, tables);
              }),
              HasSubstr("tensor tables 0:"));
  EXPECT_THAT(with([](auto& f) {
                std::vector<int16_t> tables = TestTables();
                tables[kKltLargestValue] += tables[kKltEscape];
                tables[kKltEscape] = 0;
                f.Add("tables", "I16", {kKltNumShapes, kKltNumSpreads, kKltNumSymbols}, tables);
              }),
              HasSubstr("the escape has frequency 0"));
}

TEST(KltCodebookTest, EveryTruncationIsRefused) {
  const std::string bytes = TestCodebookFile().Bytes();
  for (size_t n = 0; n < bytes.size(); n += 97) {
    EXPECT_FALSE(KltCodebook::Parse(AsBytes(bytes).first(n), "book").ok()) << n;
  }
}

}  // namespace
}  // namespace qc2c
