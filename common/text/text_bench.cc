// Tokens a second of processor time. QC2C_BENCH_TOKENIZER names a folder with tokenizer.json (and a
// chat template); without it the embedded receiver's is used. The limit beside it,
// `python_tokens/s`, is what Python's tokenizers, another version of the same Rust core, does with
// the same text in the same run (text_bench.py); `of_python` is our rate over that. The Python is
// the one that QC2C_PYTHON names, which ./run bench sets.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

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

double ProcessorSeconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

struct PythonSpeed {
  std::string version;  // of its tokenizers
  size_t num_tokens = 0;
  double tokens_per_s = 0;
};

// Nothing if no Python with tokenizers could be run.
std::optional<PythonSpeed> RunPython(const std::string& task, const std::string& text) {
  const char* python = std::getenv("QC2C_PYTHON");
  if (python == nullptr) return std::nullopt;
  const std::string command = std::string("'") + python + "' '" + QC2C_SOURCE_DIR +
                              "/common/text/text_bench.py' " + task + " '" +
                              (Folder() / "tokenizer.json").string() + "'";
  const std::filesystem::path input =
      std::filesystem::temp_directory_path() / ("qc2c_text_bench." + std::to_string(getpid()));
  std::ofstream(input, std::ios::binary) << text;
  // NOLINTNEXTLINE(bugprone-command-processor): a benchmark's own script and its user's Python
  FILE* pipe = popen((command + " < '" + input.string() + "'").c_str(), "r");
  if (pipe == nullptr) return std::nullopt;
  char line[128] = "";
  const bool is_read = std::fgets(line, sizeof(line), pipe) != nullptr;
  const bool is_done = pclose(pipe) == 0;
  std::filesystem::remove(input);
  PythonSpeed speed;
  std::istringstream words(line);
  words >> speed.version >> speed.num_tokens >> speed.tokens_per_s;
  if (!is_read || !is_done || !words) return std::nullopt;
  return speed;
}

// Measured once, as a benchmark is run several times.
const std::optional<PythonSpeed>& SpeedOfPython(const std::string& task, const std::string& text) {
  static std::map<std::pair<std::string, size_t>, std::optional<PythonSpeed>> measured;
  const auto [found, inserted] = measured.try_emplace({task, text.size()});
  if (inserted) found->second = RunPython(task, text);
  return found->second;
}

// Runs `work`, which handles `num_tokens` tokens of `text`, once an iteration; `task` is Python's
// name of it.
template <typename Work>
void Measure(benchmark::State& state, const std::string& task, const std::string& text,
             size_t num_tokens, Work work) {
  const double start = ProcessorSeconds();
  for (auto _ : state) work();
  const double seconds = ProcessorSeconds() - start;
  const double rate = static_cast<double>(num_tokens * state.iterations()) / seconds;
  state.counters["tokens/s"] = rate;
  const std::optional<PythonSpeed>& python = SpeedOfPython(task, text);
  if (!python)
    return state.SetLabel("limit not measured: QC2C_PYTHON is no Python with tokenizers");
  if (python->num_tokens != num_tokens) {
    return state.SkipWithError("Python's tokenizers make another number of tokens of the text");
  }
  state.counters["python_tokens/s"] = python->tokens_per_s;
  state.counters["of_python"] = rate / python->tokens_per_s;
  state.SetLabel("limit: Python's tokenizers " + python->version);
}

void Encode(benchmark::State& state) {
  const auto tokenizer = Tokenizer::Load(Folder());
  if (!tokenizer.ok()) return state.SkipWithError(tokenizer.status().ToString().c_str());
  const std::string text = Text(static_cast<size_t>(state.range(0)));
  Measure(state, "encode", text, tokenizer->Encode(text)->size(),
          [&] { benchmark::DoNotOptimize(tokenizer->Encode(text)); });
  state.SetBytesProcessed(static_cast<int64_t>(text.size()) * state.iterations());
}
BENCHMARK(Encode)->Arg(500)->Arg(50'000);

void StreamDecode(benchmark::State& state) {
  const auto tokenizer = Tokenizer::Load(Folder());
  if (!tokenizer.ok()) return state.SkipWithError(tokenizer.status().ToString().c_str());
  const std::string text = Text(5000);
  const std::vector<int32_t> ids = *tokenizer->Encode(text);
  Measure(state, "stream_decode", text, ids.size(), [&] {
    StreamDecoder stream(*tokenizer);
    for (const int32_t id : ids) benchmark::DoNotOptimize(stream.Push(id));
  });
}
BENCHMARK(StreamDecode);

void RenderChat(benchmark::State& state) {
  const auto chat_template = ChatTemplate::Load(Folder());
  if (!chat_template.ok()) return state.SkipWithError(chat_template.status().ToString().c_str());
  const std::string text = Text(500);
  for (auto _ : state) benchmark::DoNotOptimize(chat_template->Render({{"user", text}}));
  state.SetLabel("no limit measured");
}
BENCHMARK(RenderChat);

}  // namespace
}  // namespace qc2c

BENCHMARK_MAIN();
