// `qc2c ask`: one question, its answer, and what it cost.
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/rpc/request_limits.h"
#include "experiments/commands.h"
#include "experiments/point.h"
#include "experiments/project_files.h"
#include "experiments/prompt_format.h"
#include "experiments/question_request.h"
#include "experiments/receiver_flags.h"
#include "experiments/reply_fields.h"
#include "experiments/stop_signal.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;

constexpr absl::Duration kDescribePatience = absl::Seconds(5);
constexpr absl::Duration kRetryFor = absl::Seconds(5);

struct AskFlags {
  ReceiverFlags receiver;
  std::string mode = "fused";
  std::string codec = "int8";
  std::string format = "embedded_open";
  std::string context;
  uint32_t max_new_tokens = 64;
  bool json = false;
  bool no_stream = false;
  bool allow_degraded = false;
  std::string text;
};

// Of flags that made a request already.
v1::Mode ModeOf(const AskFlags& flags) { return ModeFromName(flags.mode).value(); }

Json ToJson(const AskFlags& flags, const v1::AnswerReply& reply) {
  const v1::ByteCounts& bytes = reply.bytes();
  Json stages;
  for (const StageTime& stage : StagesOf(reply.times())) {
    stages[stage.name] = static_cast<double>(stage.microseconds) / 1000;
  }
  Json json = {{"text", reply.text()},
               {"mode", flags.mode},
               {"codec", SharesCache(ModeOf(flags)) ? Json(flags.codec) : Json(nullptr)},
               {"hint", reply.hint()},
               {"degraded", reply.degraded()},
               {"codec_fallback", reply.codec_fallback()},
               {"input_tokens", reply.num_input_tokens()},
               {"kept_tokens", reply.num_kept_tokens()},
               {"gen_tokens", reply.num_generated_tokens()},
               {"bytes_tx", bytes.tx()},
               {"bytes", BytesToJson(bytes)},
               {"latency_ms", static_cast<double>(reply.times().total_us()) / 1000},
               {"stages_ms", stages}};
  if (reply.from_sharers_size() < 2) return json;
  for (const v1::AnswerReply::FromSharer& from : reply.from_sharers()) {
    json["by_sharer"].push_back({{"sharer", from.sharer()},
                                 {"bytes_tx", from.bytes().tx()},
                                 {"kept_tokens", from.num_kept_tokens()}});
  }
  return json;
}

void PrintBreakdown(const AskFlags& flags, const v1::AnswerReply& reply) {
  const v1::ByteCounts& bytes = reply.bytes();
  std::string text = absl::StrCat("\nmode    ", flags.mode);
  if (SharesCache(ModeOf(flags))) absl::StrAppend(&text, ", codec ", flags.codec);
  absl::StrAppend(&text, "; ", reply.num_input_tokens(), " prompt tokens, ",
                  reply.num_kept_tokens(), " sent, ", reply.num_generated_tokens(), " generated");
  if (!reply.hint().empty()) absl::StrAppend(&text, "\nsharer  wrote \"", reply.hint(), "\"");
  if (!reply.degraded().empty()) {
    absl::StrAppend(&text, "\ndegraded: answered without a sharer: ", reply.degraded());
  }
  if (!reply.codec_fallback().empty()) {
    absl::StrAppend(&text, "\nfallback to ", reply.codec_fallback());
  }
  absl::StrAppend(&text, "\nbytes   ", bytes.tx(), " = payload ", bytes.payload(), " + scales ",
                  bytes.scales(), " + indices ", bytes.indices(), " + header ", bytes.header());
  if (bytes.tx() > 0) {
    absl::StrAppend(&text, "; ", bytes.messages(), " messages, ", bytes.grpc(),
                    " with gRPC framing");
  }
  if (reply.from_sharers_size() > 1) {
    for (const v1::AnswerReply::FromSharer& from : reply.from_sharers()) {
      absl::StrAppend(&text, "; ", from.bytes().tx(), " from sharer ", from.sharer());
    }
  }
  if (bytes.raw() > 0) {
    absl::StrAppend(&text, "; uncompressed ", bytes.raw(), ", formula ", bytes.formula());
  }
  std::vector<std::string> stages;
  for (const StageTime& stage : StagesOf(reply.times())) {
    if (stage.microseconds == 0) continue;
    stages.push_back(
        absl::StrFormat("%s %.2f", stage.name, static_cast<double>(stage.microseconds) / 1000));
  }
  absl::StrAppend(
      &text,
      absl::StrFormat("\nms      %.2f: ", static_cast<double>(reply.times().total_us()) / 1000),
      absl::StrJoin(stages, ", "), "\n");
  std::cout << text << std::flush;
}

absl::StatusOr<v1::AnswerRequest> RequestOf(const AskFlags& flags) {
  ASSIGN_OR_RETURN(const v1::Mode mode, ModeFromName(flags.mode));
  std::optional<CodecSpec> codec;
  if (SharesCache(mode)) {
    ASSIGN_OR_RETURN(codec, CodecSpec::Parse(flags.codec));
  }
  ASSIGN_OR_RETURN(const Point point, MakePoint(mode, codec));
  ASSIGN_OR_RETURN(const std::filesystem::path path, PromptFormatPath(flags.format));
  ASSIGN_OR_RETURN(const PromptFormat format, PromptFormat::Load(path));
  if (flags.text.find_first_not_of(" \t\r\n") == std::string::npos) {
    return absl::InvalidArgumentError("the question is empty");
  }
  if (mode == v1::MODE_TEXT && !format.text_relay) {
    return absl::InvalidArgumentError(
        absl::StrCat("mode text needs text_relay in ", path.string()));
  }
  Question question;
  question.id = "ask";
  question.text = flags.text;
  v1::AnswerRequest request = MakeRequest(format, point, question, question);
  if (!flags.context.empty()) request.set_sharer_context(flags.context);
  request.set_method(v1::ANSWER_METHOD_GENERATE);
  request.set_max_new_tokens(flags.max_new_tokens);
  if (!flags.no_stream && !flags.json) {
    request.set_streaming(v1::AnswerRequest::STREAMING_TOKENS);
  }
  if (flags.allow_degraded) request.set_fallback(v1::FALLBACK_DEGRADED);
  return request;
}

absl::Status Ask(const AskFlags& flags) {
  ASSIGN_OR_RETURN(const v1::AnswerRequest request, RequestOf(flags));
  ASSIGN_OR_RETURN(const auto client, flags.receiver.Connect());
  RETURN_IF_ERROR(client->Describe(kDescribePatience).status());
  v1::AnswerReply answer;
  size_t num_printed = 0;
  AskOptions options;
  options.retry_for = kRetryFor;
  options.stopped = StopRequested;
  options.on_trouble = [&](const std::string& text) {
    // The answer begins anew.
    if (num_printed > 0) std::cout << std::endl;
    num_printed = 0;
    std::cerr << "qc2c ask: " << text << std::endl;
  };
  const auto on_reply = [&](const v1::AnswerReply& reply) {
    if (!reply.final()) {
      std::cout << reply.delta() << std::flush;
      num_printed += reply.delta().size();
    } else {
      answer = reply;
    }
    return absl::OkStatus();
  };
  ASSIGN_OR_RETURN(const AskResult result, client->AnswerAll({request}, options, on_reply));
  if (!result.failed.empty()) return result.failed.front().status;
  if (flags.json) {
    std::cout << ToJson(flags, answer).dump(2, ' ', false, Json::error_handler_t::replace)
              << std::endl;
    return absl::OkStatus();
  }
  if (num_printed == 0) std::cout << answer.text();
  std::cout << "\n";
  PrintBreakdown(flags, answer);
  return absl::OkStatus();
}

}  // namespace

void AddAskCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand("ask", "Ask one question and print the answer's cost");
  const auto flags = std::make_shared<AskFlags>();
  ReceiverFlags::Add(*command, flags->receiver);
  command->add_option("--mode", flags->mode,
                      "fused, receiver, sharer, text, text_answer or prefix");
  command->add_option("--context", flags->context,
                      "for fused and prefix: text that only the sharer reads, before the prompt");
  command->add_option(
      "--codec", flags->codec,
      "for fused and prefix: SCHEME[,key=value]..., e.g. int4,select=back,keep_ratio=0.5");
  command->add_option("--prompt-format", flags->format,
                      "how the question becomes a prompt: a name in experiments/prompts or a file");
  command->add_option("--max-new-tokens", flags->max_new_tokens, "length limit of the answer")
      ->check(CLI::Range(1u, kMaxNewTokens));
  command->add_flag("--json", flags->json, "print one JSON object instead of text");
  command->add_flag("--no-stream", flags->no_stream, "print the answer when it is complete");
  command->add_flag("--allow-degraded", flags->allow_degraded,
                    "if a sharer is away, let the receiver answer without it and say so");
  command->add_option("TEXT", flags->text, "the question")->required();
  command->callback([flags] { ExitUnlessOk("ask", Ask(*flags)); });
}

}  // namespace qc2c
