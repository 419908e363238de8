#include "experiments/bench/codec_report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "common/codec/scheme_registry.h"

namespace qc2c {
namespace {

TEST(CodecReportTest, EverySchemeAxisAndEntropyCoderIsMeasuredOnce) {
  std::set<std::string> texts;
  const std::vector<CodecSpec> codecs = AllCodecs();
  for (const CodecSpec& codec : codecs) {
    EXPECT_TRUE(codec.Validate().ok()) << codec.ToString();
    texts.insert(codec.ToString());
  }
  EXPECT_EQ(texts.size(), codecs.size());
  for (const char* text : {"bf16", "bf16,entropy=zstd", "int4", "int4,entropy=rans",
                           "nf4,axis=group,entropy=zstd", "binary,axis=per_channel"}) {
    EXPECT_TRUE(texts.contains(text)) << text;
  }
  EXPECT_FALSE(texts.contains("bf16,entropy=rans"));
}

CodecResult Result() {
  CodecResult result;
  result.sums.codec = CodecSpec::Parse("int8,axis=per_head").value();
  result.sums.num_caches = 2;
  result.sums.bytes = {.tx = 1000, .payload = 800, .scales = 50, .indices = 0, .header = 150};
  result.sums.keys = {.num_values = 400, .squared_error = 4, .energy = 4000};
  result.sums.values = {.num_values = 400, .squared_error = 0, .energy = 400};
  result.sums.encode_seconds = 0.004;
  result.sums.decode_seconds = 0.001;
  return result;
}

TEST(CodecReportTest, ARowSaysBitsErrorsAndTimes) {
  const TextTable table = CodecTable({Result()});
  EXPECT_EQ(table.rows.at(0),
            (std::vector<std::string>{"int8,axis=per_head", "per_head", "10.000", "500", "0.01",
                                      "30.0", "0", "exact", "2.000", "0.500"}));
}

TEST(CodecReportTest, ARefusedCodecSaysSo) {
  CodecResult result;
  result.sums.codec = CodecSpec::Parse("fp16").value();
  result.refused = absl::InvalidArgumentError("too large");
  const TextTable table = CodecTable({result});
  EXPECT_EQ(table.rows.at(0).size(), table.columns.size());
  EXPECT_EQ(table.rows.at(0).at(2), "refused");
  EXPECT_EQ(CodecJson(result).dump(), R"({"codec":"fp16","refused":"too large"})");
}

TEST(CodecReportTest, AJsonLineHasTheSameNumbers) {
  const nlohmann::ordered_json json = CodecJson(Result());
  EXPECT_EQ(json["bits_per_value"], 10.0);
  EXPECT_EQ(json["bytes_tx"]["payload"], 800);
  EXPECT_EQ(json["keys"]["mse"], 0.01);
  EXPECT_TRUE(json["values"]["snr_db"].is_null());
  EXPECT_EQ(json["encode_ms"], 2.0);
}

}  // namespace
}  // namespace qc2c
