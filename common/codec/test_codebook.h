// For tests: a small codebook whose bases are unit vectors, so that a coefficient is a value of the
// cache less its mean, and a cache that it fits.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "common/codec/klt.h"
#include "common/codec/klt_codebook.h"

namespace qc2c {

// A codebook's file in the making: change something, then ask for the bytes.
struct CodebookFile {
  struct Tensor {
    std::string dtype;
    std::vector<int64_t> shape;
    std::string bytes;
  };
  std::map<std::string, Tensor> tensors;
  nlohmann::ordered_json metadata;

  template <typename T>
  void Add(const std::string& name, const std::string& dtype, const std::vector<int64_t>& shape,
           const std::vector<T>& values) {
    tensors[name] = {
        dtype, shape,
        std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T))};
  }
  std::string Bytes() const {
    nlohmann::ordered_json header = {{"__metadata__", {{"qc2c_codebook", metadata.dump()}}}};
    std::string data;
    for (const auto& [name, tensor] : tensors) {
      header[name] = {{"dtype", tensor.dtype},
                      {"shape", tensor.shape},
                      {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
      data += tensor.bytes;
    }
    const std::string text = header.dump();
    const uint64_t size = text.size();
    return std::string(reinterpret_cast<const char*>(&size), sizeof(size)) + text + data;
  }
};

// L = 3, H = 2, D = 4. Keys of layer 1, values of layers 0 and 1. Prefix of the ids 7 8 9, of which
// the first and the last are wanted; tail of the ids 5 5 6; the last two jointly.
inline constexpr KvLayout kTestLayout{.num_layers = 3, .num_kv_heads = 2, .head_dim = 4};
inline constexpr int kTestDims[] = {8, 16};  // by Half
inline constexpr uint64_t kTestSharer = 0x0123456789abcdef;

// The mean of value n of a class and half.
inline float TestMean(int kind, int half, int n) {
  return 0.25f * static_cast<float>((5 * kind + 3 * half + n) % 7) - 0.5f;
}

inline void AddUnitBasis(CodebookFile& file, const std::string& name, int dim) {
  std::vector<float> unit(dim * dim, 0.0f);
  std::vector<int16_t> sigma(dim), shape(dim);
  for (int i = 0; i < dim; ++i) {
    unit[i * dim + i] = 1.0f;
    sigma[i] = static_cast<int16_t>(4 - i / 4);
    shape[i] = static_cast<int16_t>(i % 2);
  }
  file.Add(name + ".analysis", "F32", {dim, dim}, unit);
  file.Add(name + ".synthesis", "F32", {dim, dim}, unit);
  file.Add(name + ".sigma", "I16", {dim}, sigma);
  file.Add(name + ".shape", "I16", {dim}, shape);
}

// Tables of the right form: the narrower, the more zeros; no symbol beyond +-20.
inline std::vector<int16_t> TestTables() {
  std::vector<int16_t> all;
  for (int t = 0; t < kKltNumShapes * kKltNumSpreads; ++t) {
    std::vector<int16_t> table(kKltNumSymbols, 0);
    const int spread = t % kKltNumSpreads;
    for (int value = -20; value <= 20; ++value) {
      table[value + kKltLargestValue] = static_cast<int16_t>(1 + spread / (1 + std::abs(value)));
    }
    table[kKltEscape] = 4;
    const int others = std::accumulate(table.begin(), table.end(), 0);
    table[kKltLargestValue] =
        static_cast<int16_t>(table[kKltLargestValue] + (1 << kRansBits) - others);
    all.insert(all.end(), table.begin(), table.end());
  }
  return all;
}

inline CodebookFile TestCodebookFile() {
  CodebookFile file;
  const char* const halves[] = {"keys", "values"};
  for (int half = 0; half < 2; ++half) {
    const int dim = kTestDims[half];
    const std::string name = halves[half];
    std::vector<float> prefix(2 * dim), middle(dim), tail(3 * dim);
    for (int i = 0; i < 2 * dim; ++i) prefix[i] = static_cast<float>(half * 100 + i) / 8;
    for (int i = 0; i < dim; ++i) middle[i] = TestMean(0, half, i);
    for (int i = 0; i < 3 * dim; ++i) tail[i] = TestMean(1 + i / dim, half, i % dim);
    file.Add("prefix." + name, "F32", {2, dim}, prefix);
    file.Add("middle." + name + ".mean", "F32", {dim}, middle);
    file.Add("tail." + name + ".mean", "F32", {3, dim}, tail);
    AddUnitBasis(file, "middle." + name, dim);
    AddUnitBasis(file, "tail." + name, dim);
  }
  AddUnitBasis(file, "joint", 2 * (kTestDims[0] + kTestDims[1]));
  file.Add("rotation.frequencies", "F32", {1, 2}, std::vector<float>{1.0f, 0.125f});
  file.Add("tables", "I16", {kKltNumShapes, kKltNumSpreads, kKltNumSymbols}, TestTables());
  const nlohmann::ordered_json none;
  const auto level = [](int last, const nlohmann::ordered_json& middle,
                        const nlohmann::ordered_json& tail, const nlohmann::ordered_json& joint) {
    return nlohmann::ordered_json{
        {"last_tokens", last}, {"middle_step", middle}, {"tail_step", tail}, {"joint_step", joint}};
  };
  file.metadata = {{"version", 1},
                   {"sharer",
                    {{"model", "tiny"},
                     {"fingerprint", "0123456789abcdef"},
                     {"num_layers", 3},
                     {"num_kv_heads", 2},
                     {"head_dim", 4}}},
                   {"fuser", "00000000000000ff"},
                   {"key_layers", {1}},
                   {"value_layers", {0, 1}},
                   {"rotation_of_layer", {0, 0, 0}},
                   {"prefix_ids", {7, 8, 9}},
                   {"prefix_positions", {0, 2}},
                   {"tail_ids", {5, 5, 6}},
                   {"tail_distances", {2, 1, 0}},
                   {"joint_tokens", 2},
                   {"levels",
                    {level(0, none, none, none), level(2, none, none, -4), level(0, 0, -4, none),
                     level(0, -4, -8, -12), level(0, -12, -16, none), level(0, -28, -28, -28)}}};
  return file;
}

inline KltCodebook TestCodebook() {
  const std::string bytes = TestCodebookFile().Bytes();
  absl::StatusOr<KltCodebook> book = KltCodebook::Parse(AsBytes(bytes), "test");
  EXPECT_TRUE(book.ok()) << book.status();
  return *std::move(book);
}

// A prompt of the template with `num_middle` tokens between, every token wanted but id 8, and its
// cache.
class TestPrompt {
 public:
  explicit TestPrompt(int num_middle, float scale = 1.0f) {
    ids_ = {7, 8, 9};
    for (int i = 0; i < num_middle; ++i) ids_.push_back(20 + i);
    ids_.insert(ids_.end(), {5, 5, 6});
    for (uint32_t i = 0; i < ids_.size(); ++i) {
      if (i != 1) positions_.push_back(i);
    }
    const int64_t num_tokens = static_cast<int64_t>(positions_.size());
    const int64_t plane = num_tokens * kTestLayout.num_kv_heads * kTestLayout.head_dim;
    values_.resize(2 * kTestLayout.num_layers * plane);
    for (size_t i = 0; i < values_.size(); ++i) {
      values_[i] = scale * (static_cast<float>((i * 37) % 101) / 64 - 0.75f);
    }
    view_ = {.layout = kTestLayout, .num_tokens = num_tokens};
    for (int i = 0; i < 2 * kTestLayout.num_layers; ++i) {
      (i < kTestLayout.num_layers ? view_.keys : view_.values)
          .push_back({values_.data() + i * plane, kTestLayout.num_kv_heads * kTestLayout.head_dim,
                      kTestLayout.head_dim});
    }
  }
  TestPrompt(const TestPrompt&) = delete;

  KltPrompt prompt() const { return {ids_, positions_}; }
  const std::vector<uint32_t>& positions() const { return positions_; }
  const KvCacheView& view() const { return view_; }
  std::vector<float>& values() { return values_; }
  float At(int32_t layer, Half half, int64_t token, int64_t n) const {
    return static_cast<const float*>(view_.Plane(layer, half).data)[token * 8 + n];
  }

 private:
  std::vector<int32_t> ids_;
  std::vector<uint32_t> positions_;
  std::vector<float> values_;
  KvCacheView view_;
};

}  // namespace qc2c
