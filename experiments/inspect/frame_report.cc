#include "experiments/inspect/frame_report.h"

#include <google/protobuf/util/json_util.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/wire/frame_codec.h"
#include "experiments/inspect/klt_report.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;

// All fields under their names in the schema, those that a newer schema adds included.
absl::StatusOr<Json> Fields(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(message, &text, options).ok()) {
    return absl::InternalError("protobuf cannot print its own message");
  }
  return Json::parse(text);
}

absl::StatusOr<FrameExpectation> ExpectationOf(const v1::CacheHeader& header) {
  FrameExpectation expected;
  expected.model_fingerprint = header.model_fingerprint();
  expected.num_tokens = header.num_tokens();
  expected.layers.keys.assign(header.key_layers().begin(), header.key_layers().end());
  expected.layers.values.assign(header.value_layers().begin(), header.value_layers().end());
  ASSIGN_OR_RETURN(expected.layout, LayoutFromProto(header.layout()));
  ASSIGN_OR_RETURN(expected.codec, CodecFromProto(header.codec()));
  return expected;
}

absl::Status Verdict(const v1::CacheHeader& header, const std::vector<std::string>& messages) {
  ASSIGN_OR_RETURN(FrameExpectation expected, ExpectationOf(header));
  FrameReader reader(std::move(expected));
  for (const std::string& message : messages) RETURN_IF_ERROR(reader.Add(message));
  return reader.Finish().status();
}

absl::StatusOr<Json> HeaderReport(const v1::CacheHeader& header) {
  ASSIGN_OR_RETURN(Json report, Fields(header));
  report["model_fingerprint"] = HashText(header.model_fingerprint());
  report.erase("indices");  // the bytes that the index coding packs
  report["index_bytes"] = header.indices().size();
  const absl::StatusOr<CodecSpec> codec = CodecFromProto(header.codec());
  if (codec.ok()) report["codec"] = codec->ToString();
  return report;
}

void AppendBlocks(size_t message, const v1::CacheChunk& chunk, Json& blocks) {
  for (const v1::LayerBlock& block : chunk.blocks()) {
    blocks.push_back({{"message", message},
                      {"layer", block.layer()},
                      {"half", block.half() == v1::HALF_KEY ? "key" : "value"},
                      {"first_token", block.first_token()},
                      {"num_tokens", block.num_tokens()},
                      {"code_bytes", block.codes().size()},
                      {"scale_bytes", block.scales().size()}});
  }
}

}  // namespace

absl::StatusOr<Json> ReportFrame(const std::vector<std::string>& messages,
                                 const KltCodebook* codebook) {
  Json header;
  Json trailer = nullptr;
  Json blocks = Json::array();
  WireBytes bytes;
  v1::CacheHeader first;
  for (size_t i = 0; i < messages.size(); ++i) {
    v1::CacheChunk chunk;
    if (!chunk.ParseFromString(messages[i])) {
      return absl::InvalidArgumentError(absl::StrCat("message ", i, " is no CacheChunk"));
    }
    ASSIGN_OR_RETURN(const WireBytes counted, CountMessage(messages[i]));
    bytes += counted;
    if (i == 0 && chunk.has_header()) first = chunk.header();
    AppendBlocks(i, chunk, blocks);
    if (chunk.has_trailer()) {
      ASSIGN_OR_RETURN(trailer, Fields(chunk.trailer()));
      trailer["checksum"] = HashText(chunk.trailer().checksum());
    }
  }
  if (first.codec().scheme() == v1::SCHEME_KLT) return ReportKltFrame(messages, first, codebook);
  if (!first.has_layout()) return absl::InvalidArgumentError("message 0 has no header");
  ASSIGN_OR_RETURN(header, HeaderReport(first));
  const absl::Status verdict = Verdict(first, messages);
  return Json{{"header", header},
              {"blocks", blocks},
              {"trailer", trailer},
              {"bytes",
               {{"tx", bytes.tx},
                {"payload", bytes.payload},
                {"scales", bytes.scales},
                {"indices", bytes.indices},
                {"header", bytes.header},
                {"messages", bytes.messages},
                {"grpc", bytes.grpc()}}},
              {"verdict", verdict.ok() ? std::string("complete, checksum right")
                                       : std::string(verdict.message())}};
}

}  // namespace qc2c
