#include "experiments/inspect/klt_report.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/codec/klt_coefficients.h"
#include "common/codec/klt_layout.h"
#include "common/wire/frame_codec.h"
#include "common/wire/klt_frame.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<KvFrame> Read(const std::vector<std::string>& messages,
                             const v1::CacheHeader& header, const KltCodebook& codebook) {
  ASSIGN_OR_RETURN(const CodecSpec codec, CodecFromProto(header.codec()));
  FrameReader reader({codebook.sharer_fingerprint, codebook.layout, codec, header.num_tokens(),
                      codebook.layers, &codebook});
  for (const std::string& message : messages) RETURN_IF_ERROR(reader.Add(message));
  return reader.Finish();
}

std::string ChecksumVerdict(const v1::CacheChunk& chunk, ByteSpan codes) {
  const uint64_t right = KltChecksum(chunk.header(), codes);
  if (chunk.trailer().checksum() == right) return "checksum right; the rest needs --codebook";
  return absl::StrCat("trailer.checksum is ", HashText(chunk.trailer().checksum()), ": expected ",
                      HashText(right));
}

Json StepReport(const std::optional<int>& step) {
  return step ? Json(absl::StrFormat("%.4g", KltPower(*step))) : Json("mean");
}

Json LevelReport(const KltLevel& level) {
  return {{"last_tokens", level.last_tokens == 0 ? Json("all") : Json(level.last_tokens)},
          {"middle_step", StepReport(level.middle_step)},
          {"tail_step", StepReport(level.tail_step)},
          {"joint_step", StepReport(level.joint_step)}};
}

std::string PartName(const KltPart& part) {
  if (part.source == KltPart::Source::kJoint) return "joint";
  const char* const source = part.source == KltPart::Source::kMiddle ? "middle" : "tail";
  return absl::StrCat(source, part.half == Half::kKey ? " keys" : " values");
}

struct PartSum {
  std::string name;
  size_t rows = 0, coefficients = 0, not_zero = 0;
  double bits = 0;
};

// Rows of the same part together, in the order of the stream.
absl::StatusOr<Json> PartsReport(const KvFrame& frame) {
  const KltCodebook& codebook = *frame.codebook;
  const std::vector<KltPart> parts =
      PartsOf(codebook, codebook.levels[*frame.codec.klt->level], frame.num_tokens);
  const ByteSpan data(frame.data);
  const size_t num_codes = data.size() - frame.num_escape_bytes;
  ASSIGN_OR_RETURN(
      const std::vector<int32_t> values,
      DecodeKltValues(codebook, RunsOf(parts), data.first(num_codes), data.subspan(num_codes)));
  std::vector<PartSum> sums;
  std::span<const int32_t> rest(values);
  for (const KltPart& part : parts) {
    const std::string name = PartName(part);
    auto sum = std::ranges::find(sums, name, &PartSum::name);
    if (sum == sums.end()) sum = sums.insert(sums.end(), {.name = name});
    const auto own = rest.first(part.run.num_sent);
    ++sum->rows;
    sum->coefficients += own.size();
    sum->not_zero += own.size() - std::ranges::count(own, 0);
    sum->bits += KltSymbolBits(codebook, part.run, own);
    rest = rest.subspan(own.size());
  }
  Json report = Json::array();
  for (const PartSum& sum : sums) {
    report.push_back({{"part", sum.name},
                      {"rows", sum.rows},
                      {"coefficients", sum.coefficients},
                      {"not_zero", sum.not_zero},
                      {"symbol_bytes", absl::StrFormat("%.1f", sum.bits / 8)}});
  }
  return report;
}

// What only a reader with the codebook knows.
absl::Status AddContent(const std::vector<std::string>& messages, const v1::CacheHeader& header,
                        const KltCodebook& codebook, Json& report) {
  ASSIGN_OR_RETURN(const KvFrame frame, Read(messages, header, codebook));
  report["level"] = LevelReport(codebook.levels[*frame.codec.klt->level]);
  report["kept_tokens"] = frame.positions.size();
  ASSIGN_OR_RETURN(report["parts"], PartsReport(frame));
  return absl::OkStatus();
}

Json BytesReport(const WireBytes& bytes, uint32_t num_escape_bytes) {
  return {{"tx", bytes.tx},
          {"symbols", bytes.payload - std::min<uint64_t>(num_escape_bytes, bytes.payload)},
          {"escapes", num_escape_bytes},
          {"header", bytes.header},
          {"messages", bytes.messages},
          {"grpc", bytes.grpc()}};
}

}  // namespace

absl::StatusOr<Json> ReportKltFrame(const std::vector<std::string>& messages,
                                    const v1::CacheHeader& header, const KltCodebook* codebook) {
  WireBytes bytes;
  for (const std::string& message : messages) {
    ASSIGN_OR_RETURN(const WireBytes counted, CountMessage(message));
    bytes += counted;
  }
  Json report = {{"header",
                  {{"format_version", header.format_version()},
                   {"scheme", "klt"},
                   {"codebook", HashText(header.codec().codebook())},
                   {"level", header.codec().klt_level()},
                   {"num_tokens", header.num_tokens()},
                   {"num_escape_bytes", header.num_escape_bytes()}}}};
  std::string verdict;
  if (codebook == nullptr) {
    v1::CacheChunk chunk;
    chunk.ParseFromString(messages[0]);
    verdict = ChecksumVerdict(
        chunk, AsBytes(chunk.blocks().empty() ? std::string() : chunk.blocks(0).codes()));
  } else {
    const absl::Status status = AddContent(messages, header, *codebook, report);
    verdict = status.ok() ? "complete, checksum right" : std::string(status.message());
  }
  report["bytes"] = BytesReport(bytes, header.num_escape_bytes());
  report["verdict"] = verdict;
  return report;
}

}  // namespace qc2c
