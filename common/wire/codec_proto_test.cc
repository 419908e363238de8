#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "common/codec/scheme_registry.h"
#include "common/wire/frame_codec.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;

TEST(CodecProtoTest, EveryCodecComesBack) {
  for (const RegisteredScheme& known : AllSchemes()) {
    const std::string scheme(known.coder->name());
    for (const std::string selection :
         {"", ",select=front,keep_ratio=0.3", ",select=back,keep_tokens=1",
          ",select=key_norm,keep_ratio=1", ",select=value_norm,keep_tokens=4294967295",
          ",select=strided,keep_ratio=0.1,keep_tokens_min=3",
          ",select=value_norm,indices=per_layer,keep_tokens=2",
          ",select=attention,window=9,pool=63,keep_tokens=20",
          ",select=projected_norm,keep_tokens=2", ",select=residual_norm,keep_ratio=0.5",
          ",select=random,seed=4294967295,keep_tokens=1", ",select=sinks,sinks=9,keep_tokens=20"}) {
      const CodecSpec codec = CodecSpec::Parse(scheme + selection).value();
      EXPECT_EQ(CodecFromProto(CodecToProto(codec)).value(), codec);
      for (const std::string axis : {"per_token", "per_head", "per_layer", "per_channel",
                                     "group,group=16", "group_tokens,group=8"}) {
        for (const std::string scale : {"fp16", "bf16", "fp32"}) {
          if (codec.axis == Axis::kNone) continue;
          const std::string text = scheme + ",axis=" + axis + ",scale=" + scale + selection;
          const CodecSpec scaled = CodecSpec::Parse(text).value();
          EXPECT_EQ(CodecFromProto(CodecToProto(scaled)).value(), scaled) << text;
        }
      }
    }
  }
}

TEST(CodecProtoTest, AChoiceOfKltComesBack) {
  for (const char* text : {"klt,level=0", "klt,codebook=fedcba9876543210,budget_bytes=128",
                           "klt,level=2,fallback=int4"}) {
    const CodecSpec codec = CodecSpec::Parse(text).value();
    EXPECT_EQ(CodecFromProto(CodecToProto(codec)).value(), codec);
  }
}

TEST(CodecProtoTest, AScheduleAndABudgetComeBack) {
  for (const char* text : {"int4,keys=0-7:int8,values=20-23:bf16", "int8,budget_bytes=5000000000",
                           "bf16,select=back,budget_bytes=700,weights=00000000000000ab",
                           "bf16,select=back,keep_tokens=8,budget_bytes=700",
                           "bf16,keys=0-1:none,values=3:nf4:group8:fp32",
                           "int4,axis=group,scale=two_level,keys=1:int8:group8"}) {
    const CodecSpec codec = CodecSpec::Parse(text).value();
    EXPECT_EQ(CodecFromProto(CodecToProto(codec)).value(), codec) << text;
  }
}

TEST(CodecProtoTest, EveryTreatmentComesBack) {
  for (const std::string text :
       {"int8,rotation=remove", "int4,hadamard=keys", "int4,hadamard=values", "int4,hadamard=both",
        "int4,zero_point=midpoint", "int4,rotation=remove,mean=bias",
        "nf4,rotation=remove,mean=calibrated,calibration=fedcba9876543210"}) {
    const CodecSpec codec = CodecSpec::Parse(text).value();
    EXPECT_EQ(CodecFromProto(CodecToProto(codec)).value(), codec);
  }
}

// The error that `change` causes in a valid message.
std::string CodecError(void (*change)(v1::Codec&)) {
  v1::Codec proto = CodecToProto(CodecSpec::Parse("int8,select=back,keep_ratio=0.5").value());
  change(proto);
  const auto codec = CodecFromProto(proto);
  EXPECT_EQ(codec.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(codec.status().message());
}

TEST(CodecProtoTest, AnEntropyComesBack) {
  for (const std::string text : {"int4,entropy=rans", "int8,axis=per_head,entropy=zstd",
                                 "bf16,entropy=zstd,select=back,keep_tokens=3"}) {
    const CodecSpec codec = CodecSpec::Parse(text).value();
    EXPECT_EQ(CodecFromProto(CodecToProto(codec)).value(), codec);
    EXPECT_EQ(codec.ToString(), text);
  }
}

TEST(CodecProtoTest, AFieldOutOfRangeIsRefusedByName) {
  EXPECT_THAT(CodecError([](auto& c) { c.clear_scheme(); }), HasSubstr("scheme is 0"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_scheme(static_cast<v1::Scheme>(300)); }),
              HasSubstr("scheme is 300"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_axis(static_cast<v1::Axis>(7)); }),
              HasSubstr("axis is 7: expected 0 to 6"));
  EXPECT_THAT(CodecError([](auto& c) { c.clear_axis(); }), HasSubstr("axis"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_scale_type(static_cast<v1::ScaleType>(5)); }),
              HasSubstr("scale_type is 5"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_scale_type(v1::SCALE_TYPE_TWO_LEVEL); }),
              HasSubstr("scale is 'two_level': expected fp16, bf16 or fp32, as axis is per_token"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_window(3); }),
              HasSubstr("window is '3': expected none, as select is back"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_pool(3); }), HasSubstr("pool is '3'"));
  EXPECT_THAT(CodecError([](auto& c) { c.clear_scale_type(); }), HasSubstr("scale"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_selection(static_cast<v1::Selection>(-1)); }),
              HasSubstr("selection is -1"));
  EXPECT_THAT(CodecError([](auto& c) { c.clear_selection(); }), HasSubstr("selection is 0"));
  EXPECT_THAT(CodecError([](auto& c) { c.clear_keep(); }), HasSubstr("keep"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_keep_tokens(0); }), HasSubstr("keep_tokens"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_scheme(v1::Scheme(15)); }),
              HasSubstr("scheme is 15: expected 1 to 14"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_selection(v1::Selection(12)); }),
              HasSubstr("selection is 12: expected 1 to 11"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_group_size(8); }), HasSubstr("group is '8'"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_axis(v1::AXIS_GROUP); }), HasSubstr("group is '0'"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_entropy(v1::Entropy(3)); }),
              HasSubstr("entropy is 3: expected 0 to 2"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_index_sets(v1::IndexSets(2)); }),
              HasSubstr("index_sets is 2: expected 0 to 1"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_index_sets(v1::INDEX_SETS_PER_LAYER); }),
              HasSubstr("indices is 'per_layer': expected one, as select is back"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_rotation(v1::Rotation(2)); }),
              HasSubstr("rotation is 2: expected 0 to 1"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_mean(v1::Mean(3)); }), HasSubstr("mean is 3"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_mean(v1::MEAN_CALIBRATED); }),
              HasSubstr("mean is 'calibrated': expected none without rotation=remove"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_hadamard(v1::Hadamard(4)); }),
              HasSubstr("hadamard is 4: expected 0 to 3"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_zero_point(v1::ZeroPoint(2)); }),
              HasSubstr("zero_point is 2: expected 0 to 1"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_calibration(1); }), HasSubstr("calibration"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_sinks(1); }), HasSubstr("sinks is '1'"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_seed(1); }), HasSubstr("seed is '1'"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_selection(v1::SELECTION_SINKS); }),
              HasSubstr("sinks is '0'"));
  EXPECT_THAT(CodecError([](auto& c) { c.add_key_precisions(2); }),
              HasSubstr("keys[0] is 2: expected less than 2, as there are 0 precisions"));
  EXPECT_THAT(CodecError([](auto& c) { c.add_key_precisions(258); }),
              HasSubstr("key_precisions[0] is 258"));
  EXPECT_THAT(CodecError([](auto& c) {
                c.set_budget_bytes(9);
                c.set_entropy(v1::ENTROPY_RANS);
              }),
              HasSubstr("budget_bytes and entropy exclude each other"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_weights(9); }), HasSubstr("weights"));
  EXPECT_THAT(CodecError([](auto& c) { c.add_precisions(); }), HasSubstr("precisions.scheme is 0"));
  for (void (*change)(v1::Codec&) : {
           +[](v1::Codec& c) { c.set_keep_ratio(0); },
           +[](v1::Codec& c) { c.set_keep_ratio(-0.5f); },
           +[](v1::Codec& c) { c.set_keep_ratio(1.001f); },
           +[](v1::Codec& c) { c.set_keep_ratio(INFINITY); },
           +[](v1::Codec& c) { c.set_keep_ratio(NAN); },
       }) {
    EXPECT_THAT(CodecError(change), HasSubstr("keep_ratio"));
  }
}

TEST(LayoutProtoTest, ALayoutComesBackAndOneOutOfRangeIsRefused) {
  const KvLayout layout{.num_layers = 36, .num_kv_heads = 8, .head_dim = 128};
  EXPECT_EQ(LayoutFromProto(LayoutToProto(layout)).value(), layout);
  v1::KvLayout proto = LayoutToProto(layout);
  proto.set_head_dim(1025);
  EXPECT_THAT(std::string(LayoutFromProto(proto).status().message()),
              HasSubstr("head_dim is 1025"));
  proto.set_head_dim(0x80000000u);
  EXPECT_THAT(std::string(LayoutFromProto(proto).status().message()), HasSubstr("head_dim"));
}

}  // namespace
}  // namespace qc2c
