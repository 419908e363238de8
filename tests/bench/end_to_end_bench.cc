// Questions a second through both daemons and the wire, by the number of questions in flight,
// beside the limit: the bare arithmetic of the same questions (sharer prefill, receiver prefill,
// fusion, one decoding step) in this process, on one thread, at the same batch size.
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "common/fuser/fuser.h"
#include "common/serving/language_model.h"
#include "experiments/daemon_pair.h"
#include "experiments/question_request.h"
#include "experiments/receiver_client.h"

namespace qc2c {
namespace {

constexpr int kNumQuestions = 256;
const std::filesystem::path kData = std::filesystem::path(QC2C_SOURCE_DIR) / "data" / "embedded";

template <typename T>
T Must(absl::StatusOr<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "end_to_end_bench: %s\n", std::string(result.status().message()).c_str());
    std::exit(1);
  }
  return std::move(result).value();
}

double Seconds(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::vector<v1::AnswerRequest> Requests() {
  const auto questions =
      Must(LoadQuestions(kData / "questions" / "heldout_mc.jsonl", kNumQuestions));
  const PromptFormat format = Must(PromptFormat::Load(
      std::filesystem::path(QC2C_SOURCE_DIR) / "experiments" / "prompts" / "embedded_mc.yaml"));
  const Point point = Must(PointFromName("int8"));
  std::vector<v1::AnswerRequest> requests;
  for (const Question& question : questions) {
    requests.push_back(MakeRequest(format, point, question, question));
    requests.back().set_method(v1::ANSWER_METHOD_GENERATE);
    requests.back().set_max_new_tokens(2);
  }
  return requests;
}

// The arithmetic alone, `batch` questions at a time.
class Arithmetic {
 public:
  Arithmetic()
      : sharer_(Must(LanguageModel::Load(kData / "sharer-qwen2", {}))),
        receiver_(Must(LanguageModel::Load(kData / "receiver-qwen3", {}))),
        fuser_(Must(Fuser::Load(kData / "receiver-qwen3+sharer-qwen2",
                                receiver_.model.config().Layout(), sharer_.model.config().Layout(),
                                {}))) {}

  void Answer(const std::vector<v1::AnswerRequest>& requests, size_t batch) const {
    const at::NoGradGuard no_grad;
    for (size_t begin = 0; begin < requests.size(); begin += batch) {
      std::vector<std::vector<int32_t>> prompts, last;
      for (size_t i = begin; i < std::min(begin + batch, requests.size()); ++i) {
        std::vector<int32_t> ids = Must(receiver_.Tokenize(requests[i].prompt(), 2));
        last.push_back({ids.back()});
        ids.pop_back();
        prompts.push_back(std::move(ids));
      }
      const TokenBatch tokens = TokenBatch::FromSequences(prompts, at::kCPU);
      const KvCache shared = Must(sharer_.model.Forward(tokens, nullptr)).cache;
      const KvCache own = Must(receiver_.model.Forward(tokens, nullptr)).cache;
      const KvCache fused = Must(fuser_.Fuse({shared.keys, shared.values, shared.valid}, own));
      const ForwardResult step =
          Must(receiver_.model.Forward(TokenBatch::FromSequences(last, at::kCPU), &fused));
      benchmark::DoNotOptimize(receiver_.model.Logits(step.hidden));
    }
  }

 private:
  LanguageModel sharer_;
  LanguageModel receiver_;
  Fuser fuser_;
};

void BM_QuestionsThroughBothDaemons(benchmark::State& state) {
  static const std::vector<v1::AnswerRequest> requests = Requests();
  static const Arithmetic arithmetic;
  static const std::filesystem::path logs =
      std::filesystem::temp_directory_path() / "qc2c_end_to_end_bench";
  std::filesystem::create_directories(logs);
  static const std::unique_ptr<DaemonPair> daemons = Must(
      DaemonPair::Start({.models = {.receiver = kData / "receiver-qwen3",
                                    .sharers = {{.model = kData / "sharer-qwen2",
                                                 .fuser = kData / "receiver-qwen3+sharer-qwen2"}}},
                         .logs = logs}));
  static const std::unique_ptr<ReceiverClient> client =
      Must(ReceiverClient::Create(daemons->receiver_address()));
  const auto in_flight = static_cast<uint32_t>(state.range(0));
  double arithmetic_seconds = 0;
  for (auto _ : state) {
    auto start = std::chrono::steady_clock::now();
    const AskResult result =
        Must(client->AnswerAll(requests, {.in_flight = in_flight},
                               [](const v1::AnswerReply&) { return absl::OkStatus(); }));
    state.SetIterationTime(Seconds(start));
    if (!result.failed.empty()) state.SkipWithError("a question failed");
    start = std::chrono::steady_clock::now();
    arithmetic.Answer(requests, in_flight);
    arithmetic_seconds += Seconds(start);
  }
  const auto questions = static_cast<double>(state.iterations() * kNumQuestions);
  state.counters["questions/s"] = benchmark::Counter(questions, benchmark::Counter::kIsRate);
  state.counters["arithmetic alone/s"] = questions / arithmetic_seconds;
}
BENCHMARK(BM_QuestionsThroughBothDaemons)
    ->ArgName("in_flight")
    ->Arg(1)
    ->Arg(8)
    ->Arg(32)
    ->Arg(64)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace qc2c

int main(int argc, char** argv) {
  at::set_num_threads(1);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
