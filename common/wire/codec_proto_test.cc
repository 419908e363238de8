#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "common/wire/frame_codec.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;

TEST(CodecProtoTest, EveryCodecComesBack) {
  for (const std::string scheme : {"fp32", "bf16", "fp16", "int8", "int4"}) {
    for (const std::string selection :
         {"", ",select=front,keep_ratio=0.3", ",select=back,keep_tokens=1",
          ",select=key_norm,keep_ratio=1", ",select=value_norm,keep_tokens=4294967295"}) {
      const CodecSpec codec = CodecSpec::Parse(scheme + selection).value();
      EXPECT_EQ(CodecFromProto(CodecToProto(codec)).value(), codec);
      for (const std::string axis : {"per_token", "per_head", "per_layer"}) {
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

// The error that `change` causes in a valid message.
std::string CodecError(void (*change)(v1::Codec&)) {
  v1::Codec proto = CodecToProto(CodecSpec::Parse("int8,select=back,keep_ratio=0.5").value());
  change(proto);
  const auto codec = CodecFromProto(proto);
  EXPECT_EQ(codec.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(codec.status().message());
}

TEST(CodecProtoTest, AFieldOutOfRangeIsRefusedByName) {
  EXPECT_THAT(CodecError([](auto& c) { c.clear_scheme(); }), HasSubstr("scheme is 0"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_scheme(static_cast<v1::Scheme>(300)); }),
              HasSubstr("scheme is 300"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_axis(static_cast<v1::Axis>(4)); }),
              HasSubstr("axis is 4"));
  EXPECT_THAT(CodecError([](auto& c) { c.clear_axis(); }), HasSubstr("axis"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_scale_type(static_cast<v1::ScaleType>(4)); }),
              HasSubstr("scale_type is 4"));
  EXPECT_THAT(CodecError([](auto& c) { c.clear_scale_type(); }), HasSubstr("scale"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_selection(static_cast<v1::Selection>(-1)); }),
              HasSubstr("selection is -1"));
  EXPECT_THAT(CodecError([](auto& c) { c.clear_selection(); }), HasSubstr("selection is 0"));
  EXPECT_THAT(CodecError([](auto& c) { c.clear_keep(); }), HasSubstr("keep"));
  EXPECT_THAT(CodecError([](auto& c) { c.set_keep_tokens(0); }), HasSubstr("keep_tokens"));
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
