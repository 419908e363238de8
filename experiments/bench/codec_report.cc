#include "experiments/bench/codec_report.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/codec/entropy.h"
#include "common/codec/scheme_registry.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;

std::string Decibels(const CodecError& error) {
  const double ratio = error.SignalToNoiseDb();
  return std::isinf(ratio) ? "exact" : absl::StrFormat("%.1f", ratio);
}

double Milliseconds(double seconds, const CodecMeasurement& sums) {
  return sums.num_caches == 0 ? 0 : 1e3 * seconds / static_cast<double>(sums.num_caches);
}

std::vector<std::string> Row(const CodecResult& result) {
  const CodecMeasurement& sums = result.sums;
  const std::string axis(sums.codec.axis == Axis::kNone ? "" : AxisName(sums.codec.axis));
  if (!result.refused.ok()) {
    return {sums.codec.ToString(), axis, "refused", "", "", "", "", "", "", ""};
  }
  return {sums.codec.ToString(),
          axis,
          absl::StrFormat("%.3f", sums.BitsPerValue()),
          absl::StrCat(sums.bytes.tx / sums.num_caches),
          absl::StrFormat("%.3g", sums.keys.MeanSquaredError()),
          Decibels(sums.keys),
          absl::StrFormat("%.3g", sums.values.MeanSquaredError()),
          Decibels(sums.values),
          absl::StrFormat("%.3f", Milliseconds(sums.encode_seconds, sums)),
          absl::StrFormat("%.3f", Milliseconds(sums.decode_seconds, sums))};
}

Json ErrorJson(const CodecError& error) {
  const double ratio = error.SignalToNoiseDb();
  return {{"mse", error.MeanSquaredError()},
          {"snr_db", std::isinf(ratio) ? Json(nullptr) : Json(ratio)}};
}

}  // namespace

std::vector<CodecSpec> AllCodecs() {
  std::vector<CodecSpec> codecs;
  const auto add = [&](CodecSpec codec) {
    for (const Entropy entropy : kAllEntropies) {
      if (!CanCode(entropy, codec.scheme)) continue;
      codec.entropy = entropy;
      codecs.push_back(codec);
    }
  };
  for (const RegisteredScheme& known : AllSchemes()) {
    CodecSpec codec;
    codec.scheme = known.coder->scheme();
    if (!known.coder->has_scales()) {
      codec.axis = Axis::kNone;
      codec.scale_type = ScaleType::kNone;
      add(codec);
      continue;
    }
    for (const Axis axis : kAllAxes) {
      codec.axis = axis;
      codec.group_size =
          axis == Axis::kGroup || axis == Axis::kGroupTokens ? CodecSpec::kDefaultGroupSize : 0;
      add(codec);
    }
  }
  return codecs;
}

TextTable CodecTable(const std::vector<CodecResult>& results) {
  using Align = TextTable::Align;
  TextTable table{.columns = {{"codec", Align::kLeft},
                              {"axis", Align::kLeft},
                              {"bits a value"},
                              {"bytes a cache"},
                              {"MSE keys"},
                              {"SNR keys, dB"},
                              {"MSE values"},
                              {"SNR values, dB"},
                              {"encode, ms"},
                              {"decode, ms"}},
                  .rows = {}};
  for (const CodecResult& result : results) table.rows.push_back(Row(result));
  return table;
}

nlohmann::ordered_json CodecJson(const CodecResult& result) {
  const CodecMeasurement& sums = result.sums;
  Json json = {{"codec", sums.codec.ToString()}};
  if (!result.refused.ok()) {
    json["refused"] = std::string(result.refused.message());
    return json;
  }
  json["num_caches"] = sums.num_caches;
  json["num_values"] = sums.keys.num_values + sums.values.num_values;
  json["bits_per_value"] = sums.BitsPerValue();
  json["bytes_tx"] = {{"total", sums.bytes.tx},
                      {"payload", sums.bytes.payload},
                      {"scales", sums.bytes.scales},
                      {"indices", sums.bytes.indices},
                      {"header", sums.bytes.header}};
  json["keys"] = ErrorJson(sums.keys);
  json["values"] = ErrorJson(sums.values);
  json["encode_ms"] = Milliseconds(sums.encode_seconds, sums);
  json["decode_ms"] = Milliseconds(sums.decode_seconds, sums);
  return json;
}

}  // namespace qc2c
