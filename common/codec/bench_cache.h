// The cache that the codec's benchmarks encode: Qwen2.5-0.5B's shape in bf16, at the length of a
// short question and at the model's whole context.
#pragma once

#include <time.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "common/codec/codec.h"

namespace qc2c {

inline constexpr KvLayout kBenchLayout = {.num_layers = 24, .num_kv_heads = 2, .head_dim = 64};
inline constexpr int64_t kBenchTokens[] = {141, 32768};
inline constexpr const char* kBenchCodecs[] = {"int8",
                                               "int4",
                                               "bf16",
                                               "int8,axis=per_head",
                                               "int4,axis=per_channel",
                                               "int4,axis=group",
                                               "int3",
                                               "int2",
                                               "int2_lloyd",
                                               "binary",
                                               "nf4",
                                               "fp8_e4m3"};

inline size_t RawBytes(int64_t num_tokens) {
  return num_tokens * kBenchLayout.num_layers * kBenchLayout.num_kv_heads * kBenchLayout.head_dim *
         2 * sizeof(uint16_t);
}

// bf16 values of about N(0, 1), RawBytes of them.
inline std::vector<uint16_t> RandomValues(int64_t num_tokens) {
  std::vector<uint16_t> values(RawBytes(num_tokens) / sizeof(uint16_t));
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<uint16_t> some(1 << 16);
  for (uint16_t& value : some) value = Fp32ToBf16(normal(random));
  for (size_t i = 0; i < values.size(); ++i) values[i] = some[i % some.size()];
  return values;
}

// A contiguous cache at `memory`: planes one after another, each [T, H, D].
inline KvCacheView BenchView(void* memory, int64_t num_tokens, DeviceType device) {
  const int64_t head = kBenchLayout.head_dim;
  const int64_t token = kBenchLayout.num_kv_heads * head;
  KvCacheView view = {
      .layout = kBenchLayout, .num_tokens = num_tokens, .dtype = DType::kBf16, .device = device};
  auto* next = static_cast<uint16_t*>(memory);
  for (int32_t layer = 0; layer < kBenchLayout.num_layers; ++layer) {
    for (std::vector<KvPlane>* planes : {&view.keys, &view.values}) {
      planes->push_back({next, token, head});
      next += num_tokens * token;
    }
  }
  return view;
}

inline KvLayerSet BenchLayers() {
  std::vector<int32_t> layers(kBenchLayout.num_layers);
  for (int32_t i = 0; i < kBenchLayout.num_layers; ++i) layers[i] = i;
  return KvLayerSet::Both(layers);
}

// This thread's CPU time: what other programs do on the machine does not count.
inline double ThreadSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

inline double Median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + values.size() / 2);
  return values[values.size() / 2];
}

}  // namespace qc2c
