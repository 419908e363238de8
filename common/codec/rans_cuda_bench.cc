// Entropy coding of a cache's codes on a GPU: kernels by events, as codec_cuda_bench.cc. `GB/s` are
// packed codes a second, `bf16_GB/s` the same in the cache's own values, `of_copy` codes and coded
// bytes a second over the bytes of a device-to-device copy in the same run; `cpu_GB/s` is
// EncodeCodes or DecodeCodes on one core of this machine (packed codes, thread time).
#include <benchmark/benchmark.h>

#include <string>

#include "common/codec/bench_cache.h"
#include "common/codec/cuda_bench.h"
#include "common/codec/entropy.h"
#include "common/codec/gpu_coder.h"

namespace qc2c {
namespace {

constexpr const char* kRansCodecs[] = {"int8", "int4"};

// The codes of all blocks, one after another.
struct BenchCodes {
  CodeSource source;
  std::vector<uint8_t> codes;
  size_t block_bytes = 0;
};

BenchCodes CodesOf(const GpuCache& cache, const std::string& codec) {
  const CodecSpec spec = CodecSpec::Parse(codec).value();
  const KvFrame frame = EncodeCache(cache.view, BenchLayers(), spec).value();
  BenchCodes all = {.source = {spec.scheme, kBenchLayout.head_dim, kBenchLayout.num_kv_heads},
                    .block_bytes = frame.blocks[0].codes_bytes};
  for (const KvBlock& block : frame.blocks) {
    const ByteSpan codes = frame.Codes(block);
    all.codes.insert(all.codes.end(), codes.begin(), codes.end());
  }
  return all;
}

// Seconds a byte of codes, of the first block; median of 5.
double CpuSecondsPerByte(const BenchCodes& all, Direction direction) {
  const ByteSpan block = ByteSpan(all.codes).first(all.block_bytes);
  std::vector<uint8_t> coded = EncodeCodes(Entropy::kRans, all.source, block);
  std::vector<uint8_t> decoded(block.size());
  std::vector<double> seconds;
  for (int i = 0; i < 5; ++i) {
    const double start = ThreadSeconds();
    if (direction == Direction::kEncode) {
      coded = EncodeCodes(Entropy::kRans, all.source, block);
    } else {
      Check(DecodeCodes(Entropy::kRans, all.source, coded, decoded).ok(), "DecodeCodes");
    }
    seconds.push_back(ThreadSeconds() - start);
  }
  return Median(seconds) / static_cast<double>(block.size());
}

void Rans(benchmark::State& state, Direction direction, const std::string& codec,
          int64_t num_tokens) {
  const GpuCache cache(num_tokens);
  const CudaStream stream = CudaStream::Create().value();
  const BenchCodes all = CodesOf(cache, codec);
  const GpuEncoder encoder = GpuEncoder::Create(all.source, all.codes, all.block_bytes).value();
  Check(encoder.Queue(stream.get()) == cudaSuccess && stream.Synchronize().ok(), "encoding");
  const auto coded = encoder.Result().value();
  const GpuDecoder decoder =
      GpuDecoder::Create(all.source, coded, all.block_bytes, all.codes.size()).value();
  double seconds = 0;
  for (auto _ : state) {
    seconds = EventSeconds(stream, [&] {
      if (direction == Direction::kEncode) {
        encoder.Queue(stream.get());
      } else {
        decoder.Queue(stream.get());
      }
    });
    state.SetIterationTime(seconds);
  }
  Check(decoder.Queue(stream.get()) == cudaSuccess && stream.Synchronize().ok() &&
            decoder.Codes().value() == all.codes,
        "decoding");
  size_t coded_bytes = 0;
  for (const std::vector<uint8_t>& run : coded) coded_bytes += run.size();
  const double codes_bytes = static_cast<double>(all.codes.size());
  const double copy_rate = CopyRate(cache, stream);
  state.counters["us"] = seconds * 1e6;
  state.counters["GB/s"] = codes_bytes / seconds / 1e9;
  state.counters["bf16_GB/s"] = RawBytes(num_tokens) / seconds / 1e9;
  state.counters["copy_GB/s"] = copy_rate / 1e9;
  state.counters["of_copy"] =
      (codes_bytes + static_cast<double>(coded_bytes)) / seconds / copy_rate;
  state.counters["coded_share"] = static_cast<double>(coded_bytes) / codes_bytes;
  state.counters["cpu_GB/s"] = 1 / CpuSecondsPerByte(all, direction) / 1e9;
}

}  // namespace

void RegisterRansBenchmarks() {
  for (const int64_t num_tokens : kBenchTokens) {
    for (const std::string codec : kRansCodecs) {
      const std::string name = codec + "/" + std::to_string(num_tokens);
      for (const Direction direction : {Direction::kEncode, Direction::kDecode}) {
        const std::string verb =
            direction == Direction::kEncode ? "cuda_rans_encode" : "cuda_rans_decode";
        benchmark::RegisterBenchmark((verb + "/" + name).c_str(), Rans, direction, codec,
                                     num_tokens)
            ->UseManualTime()
            ->Iterations(1)
            ->Unit(benchmark::kMicrosecond);
      }
    }
  }
}

}  // namespace qc2c
