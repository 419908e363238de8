// The codecs and the cache that the fuzz tests try: each scheme family, axis, selection and entropy
// coder at least once. A corpus names them by their number here, so new ones go to the end.
#pragma once

#include "common/wire/test_frames.h"

namespace qc2c {

inline const FrameShape kFuzzShape = {.layout = {.num_layers = 4, .num_kv_heads = 2, .head_dim = 7},
                                      .num_tokens = 40,
                                      .layers = {.keys = {0, 3}, .values = {0, 1}}};

inline constexpr const char* kFuzzCodecs[] = {
    "fp32,select=key_norm,keep_tokens=4",
    "bf16,select=back,keep_ratio=0.2",
    "fp16,select=front,keep_tokens=1",
    "int8,select=value_norm,keep_ratio=0.5",
    "int8,axis=per_head,scale=fp32",
    "int4,axis=per_layer,select=key_norm,keep_ratio=0.9",
    "int4,scale=bf16,select=value_norm,keep_tokens=2",
    "int3,axis=group,group=8",
    "int2_lloyd,axis=per_channel,select=random,seed=2,keep_tokens=9",
    "binary,select=sinks,keep_tokens=12",
    "nf4,axis=group,group=8,scale=fp32,select=strided,keep_ratio=0.5",
    "fp8_e5m2,select=key_norm,keep_tokens=7",
    "int4,axis=per_head,entropy=rans",
    "int2_lloyd,entropy=rans,select=back,keep_tokens=9",
    "bf16,entropy=zstd,select=front,keep_tokens=3",
    "int4,axis=group_tokens,group=8,select=back,keep_tokens=21",
    "int8,axis=group,group=8,zero_point=midpoint,select=key_norm,keep_tokens=4",
    "int8,select=key_norm,indices=per_layer,keep_tokens=5",
    "int4,select=value_norm,indices=per_layer,keep_ratio=0.6",
    "int4,axis=group,group=8,scale=two_level,select=attention,keep_tokens=6",
};

}  // namespace qc2c
