// Writing and reading a frame against memcpy of the same bytes, in GB/s of codes and scales.
//
// The writer copies each byte twice (into the message object, into the serialized message) and
// hashes it once; the reader clears the frame, copies each byte once and hashes it once. Both
// allocate what they return, memcpy writes to the same place every time. Rates are per second of
// CPU time, on one thread.
#include <benchmark/benchmark.h>

#include <cstring>

#include "common/wire/frame_codec.h"

namespace qc2c {
namespace {

// Keys and values of eight layers of 8 x 128 in int8, per_token: 16 KiB and a little a token.
KvFrame MakeFrame(int64_t num_tokens) {
  KvFrame frame;
  frame.layout = {.num_layers = 8, .num_kv_heads = 8, .head_dim = 128};
  frame.codec = CodecSpec::Parse("int8").value();
  frame.num_tokens = static_cast<uint32_t>(num_tokens);
  for (uint32_t i = 0; i < frame.num_tokens; ++i) frame.positions.push_back(i);
  frame.layers = KvLayerSet::Both({0, 1, 2, 3, 4, 5, 6, 7});
  if (!LayOutBlocks(frame).ok()) std::abort();
  std::memset(frame.data.data(), 0x3c, frame.data.size());
  return frame;
}

FrameExpectation ExpectationOf(const KvFrame& frame) {
  return {frame.model_fingerprint, frame.layout, frame.codec, frame.num_tokens, frame.layers};
}

void SetRate(benchmark::State& state, const KvFrame& frame) {
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(frame.data.size()));
}

void BM_Memcpy(benchmark::State& state) {
  const KvFrame frame = MakeFrame(state.range(0));
  std::vector<uint8_t> copy(frame.data.size());
  for (auto _ : state) {
    std::memcpy(copy.data(), frame.data.data(), copy.size());
    benchmark::ClobberMemory();
  }
  SetRate(state, frame);
}

void BM_CopyToFreshMemory(benchmark::State& state) {
  const KvFrame frame = MakeFrame(state.range(0));
  for (auto _ : state) {
    std::vector<uint8_t> copy(frame.data);
    benchmark::DoNotOptimize(copy.data());
    benchmark::ClobberMemory();
  }
  SetRate(state, frame);
}

void BM_WriteFrame(benchmark::State& state) {
  const KvFrame frame = MakeFrame(state.range(0));
  for (auto _ : state) {
    auto messages = WriteFrame(frame, static_cast<uint32_t>(state.range(1)));
    if (!messages.ok()) return state.SkipWithError("WriteFrame failed");
    benchmark::DoNotOptimize(messages->data());
  }
  SetRate(state, frame);
}

void BM_ReadFrame(benchmark::State& state) {
  const KvFrame frame = MakeFrame(state.range(0));
  const auto messages = WriteFrame(frame, static_cast<uint32_t>(state.range(1))).value();
  for (auto _ : state) {
    FrameReader reader(ExpectationOf(frame));
    for (const std::string& message : messages) {
      if (!reader.Add(message).ok()) return state.SkipWithError("FrameReader::Add failed");
    }
    auto read = reader.Finish();
    if (!read.ok()) return state.SkipWithError("FrameReader::Finish failed");
    benchmark::DoNotOptimize(read->data.data());
  }
  SetRate(state, frame);
}

// 32 tokens are half a megabyte, 2048 are 32 MiB.
BENCHMARK(BM_Memcpy)->ArgName("tokens")->Arg(32)->Arg(2048);
BENCHMARK(BM_CopyToFreshMemory)->ArgName("tokens")->Arg(32)->Arg(2048);
BENCHMARK(BM_WriteFrame)
    ->ArgNames({"tokens", "chunk"})
    ->ArgsProduct({{32, 2048}, {64 << 10, 256 << 10, 1 << 20, 4 << 20}});
BENCHMARK(BM_ReadFrame)
    ->ArgNames({"tokens", "chunk"})
    ->ArgsProduct({{32, 2048}, {64 << 10, 256 << 10, 1 << 20, 4 << 20}});

}  // namespace
}  // namespace qc2c

BENCHMARK_MAIN();
