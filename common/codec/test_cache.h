// A small cache for tests, on the CPU or on the GPU, filled and read back as fp32.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <vector>

#include "common/codec/codec.h"
#include "common/codec/rows.h"
#ifdef QC2C_ENABLE_CUDA
#include <cuda_runtime_api.h>

#include "common/cuda/cuda_buffer.h"
#include "common/cuda/cuda_device.h"
#endif

namespace qc2c {

inline bool HasDevice(DeviceType device) {
#ifdef QC2C_ENABLE_CUDA
  return device == DeviceType::kCpu || CudaDeviceCount() > 0;
#else
  return device == DeviceType::kCpu;
#endif
}

// Skips, loudly, a test whose device this machine lacks.
#define SKIP_WITHOUT(device) \
  if (!HasDevice(device)) GTEST_SKIP() << "no CUDA device"

inline std::string DeviceText(DeviceType device) {
  return device == DeviceType::kCpu ? "Cpu" : "Cuda";
}

// [T, H, D] with gaps: rows are `gap` elements further apart than they need to be, so that an
// encoder that ignores strides is found out. gap 0 and a D of whole words gives the vectorised
// access.
class TestCache {
 public:
  TestCache(KvLayout layout, int64_t num_tokens, DType dtype, DeviceType device, int64_t gap = 0)
      : layout_(layout), num_tokens_(num_tokens), dtype_(dtype), device_(device) {
    head_stride_ = layout.head_dim + gap;
    token_stride_ = layout.num_kv_heads * head_stride_ + gap;
    const size_t bytes = num_tokens * token_stride_ * DTypeBytes(dtype);
    for (int plane = 0; plane < 2 * layout.num_layers; ++plane) {
      // 0xa5 bytes: a value that nobody should read or write.
      host_.emplace_back(bytes, std::byte{0xa5});
    }
    Upload();
  }

  // Sets every value of every plane: value(layer, half, token, head, d).
  void Fill(const std::function<float(int, Half, int64_t, int, int)>& value) {
    ForEachRow([&](int layer, Half half, int64_t t, int h, std::byte* row) {
      std::vector<float> values(layout_.head_dim);
      for (int d = 0; d < layout_.head_dim; ++d) values[d] = value(layer, half, t, h, d);
      StoreRow(dtype_, values.data(), values.size(), row);
    });
    Upload();
  }

  void FillRandom(uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    Fill([&](int layer, Half, int64_t, int, int) { return normal(random) * (1 + layer); });
  }

  // The values as they are stored, in the order of Fill's loops: layer, half, token, head, d.
  std::vector<float> Values() {
    Download();
    std::vector<float> all;
    ForEachRow([&](int, Half, int64_t, int, std::byte* row) {
      all.resize(all.size() + layout_.head_dim);
      LoadRow(dtype_, row, layout_.head_dim, all.data() + all.size() - layout_.head_dim);
    });
    return all;
  }

  // Everything, gaps included.
  std::vector<std::byte> Bytes() {
    Download();
    std::vector<std::byte> all;
    for (const auto& plane : host_) all.insert(all.end(), plane.begin(), plane.end());
    return all;
  }

  KvCacheView View() {
    KvCacheView view = {
        .layout = layout_, .num_tokens = num_tokens_, .dtype = dtype_, .device = device_};
    for (int layer = 0; layer < layout_.num_layers; ++layer) {
      view.keys.push_back({Data(2 * layer), token_stride_, head_stride_});
      view.values.push_back({Data(2 * layer + 1), token_stride_, head_stride_});
    }
    return view;
  }

  KvLayerSet AllLayers() const {
    std::vector<int32_t> layers;
    for (int layer = 0; layer < layout_.num_layers; ++layer) layers.push_back(layer);
    return KvLayerSet::Both(layers);
  }

 private:
  void ForEachRow(const std::function<void(int, Half, int64_t, int, std::byte*)>& visit) {
    for (size_t plane = 0; plane < host_.size(); ++plane) {
      for (int64_t t = 0; t < num_tokens_; ++t) {
        for (int h = 0; h < layout_.num_kv_heads; ++h) {
          const int64_t element = t * token_stride_ + h * head_stride_;
          visit(static_cast<int>(plane / 2), plane % 2 == 0 ? Half::kKey : Half::kValue, t, h,
                host_[plane].data() + element * DTypeBytes(dtype_));
        }
      }
    }
  }

#ifdef QC2C_ENABLE_CUDA
  void* Data(size_t plane) {
    return device_ == DeviceType::kCpu ? static_cast<void*>(host_[plane].data())
                                       : gpu_[plane].data();
  }

  void Upload() {
    if (device_ == DeviceType::kCpu) return;
    for (size_t plane = 0; plane < host_.size(); ++plane) {
      if (gpu_.size() == plane) gpu_.emplace_back(CudaMemory::kDevice);
      ASSERT_TRUE(gpu_[plane].Reserve(host_[plane].size()).ok());
      ASSERT_EQ(cudaMemcpy(gpu_[plane].data(), host_[plane].data(), host_[plane].size(),
                           cudaMemcpyHostToDevice),
                cudaSuccess);
    }
  }

  void Download() {
    if (device_ == DeviceType::kCpu) return;
    for (size_t plane = 0; plane < host_.size(); ++plane) {
      ASSERT_EQ(cudaMemcpy(host_[plane].data(), gpu_[plane].data(), host_[plane].size(),
                           cudaMemcpyDeviceToHost),
                cudaSuccess);
    }
  }

  std::vector<CudaBuffer> gpu_;
#else
  void* Data(size_t plane) { return host_[plane].data(); }
  void Upload() {}
  void Download() {}
#endif

  KvLayout layout_;
  int64_t num_tokens_;
  DType dtype_;
  DeviceType device_;
  int64_t head_stride_;
  int64_t token_stride_;
  std::vector<std::vector<std::byte>> host_;
};

inline CodecSpec Spec(std::string_view text) {
  const absl::StatusOr<CodecSpec> spec = CodecSpec::Parse(text);
  EXPECT_TRUE(spec.ok()) << spec.status();
  return spec.ok() ? *spec : CodecSpec();
}

inline absl::StatusOr<KvFrame> Encode(TestCache& cache, std::string_view codec) {
  return EncodeCache(cache.View(), cache.AllLayers(), Spec(codec));
}

// The cache that every golden frame is made of: one layer, two heads, two tokens, three values.
inline TestCache GoldenCache(DeviceType device) {
  static constexpr float kKeys[] = {1, 2, -3, .5f, -.25f, .125f, 4, 5, -6.5f, 0, 0, 0};
  static constexpr float kValues[] = {-100, 50, 25.5f, .01f, .02f, -.03f, 1, -1, 1, 2, 4, 8};
  TestCache cache({.num_layers = 1, .num_kv_heads = 2, .head_dim = 3}, 2, DType::kFp32, device);
  cache.Fill([](int, Half half, int64_t t, int h, int d) {
    return (half == Half::kKey ? kKeys : kValues)[(t * 2 + h) * 3 + d];
  });
  return cache;
}

// Codes and scales of a golden frame, as hexadecimal.
struct GoldenFrame {
  std::string codec;
  std::string key_codes;
  std::string key_scales;
  std::string value_codes;
  std::string value_scales;
};

inline void ExpectGolden(DeviceType device, const GoldenFrame& golden) {
  TestCache cache = GoldenCache(device);
  const absl::StatusOr<KvFrame> frame = Encode(cache, golden.codec);
  ASSERT_TRUE(frame.ok()) << frame.status();
  ASSERT_EQ(frame->blocks.size(), 2u);
  EXPECT_EQ(ToHex(frame->Codes(frame->blocks[0])), golden.key_codes) << golden.codec;
  EXPECT_EQ(ToHex(frame->Scales(frame->blocks[0])), golden.key_scales) << golden.codec;
  EXPECT_EQ(ToHex(frame->Codes(frame->blocks[1])), golden.value_codes) << golden.codec;
  EXPECT_EQ(ToHex(frame->Scales(frame->blocks[1])), golden.value_scales) << golden.codec;
}

}  // namespace qc2c
