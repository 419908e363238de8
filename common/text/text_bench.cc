// Tokens a second. QC2C_BENCH_TOKENIZER names a folder with tokenizer.json (and a chat template);
// without it the embedded receiver's is used. The limit to compare with is the Python library on
// the same text: it runs the same core behind one more layer.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>

#include "common/text/chat_template.h"
#include "common/text/tokenizer.h"

namespace qc2c {
namespace {

std::filesystem::path Folder() {
  const char* folder = std::getenv("QC2C_BENCH_TOKENIZER");
  return folder == nullptr ? std::filesystem::path(QC2C_SOURCE_DIR) / "data/embedded/receiver-qwen3"
                           : std::filesystem::path(folder);
}

// `size` bytes or a little more. Distinct numbers keep the vocabulary's cache from answering all.
std::string Text(size_t size) {
  std::string text;
  for (size_t i = 0; text.size() < size; ++i) {
    text += "Question " + std::to_string(i * 7919) +
            ": which city does the keeper of the old lighthouse live in, and since when?\n";
  }
  return text;
}

void SetTokens(benchmark::State& state, size_t tokens) {
  state.counters["tokens/s"] = benchmark::Counter(static_cast<double>(tokens),
                                                  benchmark::Counter::kIsIterationInvariantRate);
}

void Encode(benchmark::State& state) {
  const auto tokenizer = Tokenizer::Load(Folder());
  if (!tokenizer.ok()) return state.SkipWithError(tokenizer.status().ToString().c_str());
  const std::string text = Text(static_cast<size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer->Encode(text));
  state.SetBytesProcessed(static_cast<int64_t>(text.size()) * state.iterations());
  SetTokens(state, tokenizer->Encode(text)->size());
}
BENCHMARK(Encode)->Arg(500)->Arg(50'000);

void StreamDecode(benchmark::State& state) {
  const auto tokenizer = Tokenizer::Load(Folder());
  if (!tokenizer.ok()) return state.SkipWithError(tokenizer.status().ToString().c_str());
  const std::vector<int32_t> ids = *tokenizer->Encode(Text(5000));
  for (auto _ : state) {
    StreamDecoder stream(*tokenizer);
    for (const int32_t id : ids) benchmark::DoNotOptimize(stream.Push(id));
  }
  SetTokens(state, ids.size());
}
BENCHMARK(StreamDecode);

void RenderChat(benchmark::State& state) {
  const auto chat_template = ChatTemplate::Load(Folder());
  if (!chat_template.ok()) return state.SkipWithError(chat_template.status().ToString().c_str());
  const std::string text = Text(500);
  for (auto _ : state) benchmark::DoNotOptimize(chat_template->Render({{"user", text}}));
}
BENCHMARK(RenderChat);

}  // namespace
}  // namespace qc2c

BENCHMARK_MAIN();
