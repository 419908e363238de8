#include "experiments/prediction.h"

#include <cmath>
#include <system_error>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "experiments/reply_fields.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;

Json TimesToJson(const v1::StageTimes& times) {
  Json json;
  for (const StageTime& stage : StagesOf(times)) json[stage.name] = stage.microseconds;
  return json;
}

// Takes fields out of an object; the first that is missing or of another type is remembered.
class Fields {
 public:
  explicit Fields(const Json& object) : object_(object) {}

  template <typename T>
  T Get(const std::string& name) {
    const auto found = object_.find(name);
    if (found == object_.end()) return Fail<T>(name, "is missing");
    if constexpr (std::is_same_v<T, std::string>) {
      if (!found->is_string()) return Fail<T>(name, "is not text");
    } else if constexpr (std::is_same_v<T, bool>) {
      if (!found->is_boolean()) return Fail<T>(name, "is not true or false");
    } else {
      if (!found->is_number() || found->template get<double>() < 0) {
        return Fail<T>(name, "is not a number of at least 0");
      }
    }
    return found->template get<T>();
  }
  absl::Status status() const { return status_; }

 private:
  template <typename T>
  T Fail(const std::string& name, const std::string& problem) {
    if (status_.ok()) {
      status_ = absl::InvalidArgumentError(absl::StrCat("field \"", name, "\" ", problem));
    }
    return T();
  }

  const Json& object_;
  absl::Status status_;
};

absl::Status ReadBytes(const Json& json, Prediction& prediction) {
  Fields fields(json);
  v1::ByteCounts& bytes = prediction.bytes;
  bytes.set_payload(fields.Get<uint64_t>("payload"));
  bytes.set_scales(fields.Get<uint64_t>("scales"));
  bytes.set_indices(fields.Get<uint64_t>("indices"));
  bytes.set_header(fields.Get<uint64_t>("header"));
  bytes.set_grpc(fields.Get<uint64_t>("grpc"));
  bytes.set_formula(fields.Get<uint64_t>("formula"));
  bytes.set_raw(fields.Get<uint64_t>("raw"));
  bytes.set_messages(fields.Get<uint64_t>("messages"));
  return fields.status();
}

absl::Status ReadTimes(const Json& json, Prediction& prediction) {
  Fields fields(json);
  v1::StageTimes& times = prediction.times;
  times.set_queue_us(fields.Get<uint64_t>("queue"));
  times.set_tokenize_us(fields.Get<uint64_t>("tokenize"));
  times.set_sharer_prefill_us(fields.Get<uint64_t>("sharer_prefill"));
  times.set_encode_us(fields.Get<uint64_t>("encode"));
  times.set_transfer_us(fields.Get<uint64_t>("transfer"));
  times.set_decode_cache_us(fields.Get<uint64_t>("decode_cache"));
  times.set_receiver_prefill_us(fields.Get<uint64_t>("receiver_prefill"));
  times.set_fuse_us(fields.Get<uint64_t>("fuse"));
  times.set_generate_us(fields.Get<uint64_t>("generate"));
  return fields.status();
}

}  // namespace

Json Prediction::ToJson() const {
  Json json = {{"id", id},
               {"pred", pred.has_value() ? Json(*pred) : Json(nullptr)},
               {"gold", gold},
               {"correct", correct},
               {"output", output},
               {"input_tokens", input_tokens},
               {"gen_tokens", gen_tokens},
               {"bytes_tx", bytes.tx()},
               {"latency_ms", static_cast<double>(times.total_us()) / 1000},
               {"kept_tokens", kept_tokens},
               {"hint", hint},
               {"bytes", BytesToJson(bytes)},
               {"times_us", TimesToJson(times)},
               {"wall_us", wall_us},
               {"socket_bytes", socket_bytes.has_value() ? Json(*socket_bytes) : Json(nullptr)}};
  if (!codec_fallback.empty()) json["codec_fallback"] = codec_fallback;
  if (!option_scores.empty()) json["option_scores"] = option_scores;
  for (const FromSharer& from : by_sharer) {
    json["by_sharer"].push_back(
        {{"sharer", from.sharer}, {"bytes_tx", from.bytes_tx}, {"kept_tokens", from.kept_tokens}});
  }
  return json;
}

absl::StatusOr<Prediction> Prediction::FromJson(const Json& json) {
  if (!json.is_object()) return absl::InvalidArgumentError("not a JSON object");
  Fields fields(json);
  Prediction prediction;
  prediction.id = fields.Get<std::string>("id");
  if (json.contains("pred") && !json["pred"].is_null()) {
    prediction.pred = fields.Get<std::string>("pred");
  }
  prediction.gold = fields.Get<std::string>("gold");
  prediction.correct = fields.Get<bool>("correct");
  prediction.output = fields.Get<std::string>("output");
  prediction.input_tokens = fields.Get<uint32_t>("input_tokens");
  prediction.gen_tokens = fields.Get<uint32_t>("gen_tokens");
  prediction.kept_tokens = fields.Get<uint32_t>("kept_tokens");
  prediction.hint = fields.Get<std::string>("hint");
  prediction.bytes.set_tx(fields.Get<uint64_t>("bytes_tx"));
  prediction.times.set_total_us(
      static_cast<uint64_t>(std::llround(fields.Get<double>("latency_ms") * 1000)));
  prediction.wall_us = fields.Get<uint64_t>("wall_us");
  if (json.contains("codec_fallback")) {
    prediction.codec_fallback = fields.Get<std::string>("codec_fallback");
  }
  if (json.contains("socket_bytes") && !json["socket_bytes"].is_null()) {
    prediction.socket_bytes = fields.Get<uint64_t>("socket_bytes");
  }
  RETURN_IF_ERROR(fields.status());
  for (const Json& score : json.value("option_scores", Json::array())) {
    if (!score.is_number()) {
      return absl::InvalidArgumentError("field \"option_scores\" is not a list of numbers");
    }
    prediction.option_scores.push_back(score.get<double>());
  }
  for (const Json& one : json.value("by_sharer", Json::array())) {
    Fields from(one);
    prediction.by_sharer.push_back({.sharer = from.Get<uint32_t>("sharer"),
                                    .bytes_tx = from.Get<uint64_t>("bytes_tx"),
                                    .kept_tokens = from.Get<uint32_t>("kept_tokens")});
    RETURN_IF_ERROR(from.status());
  }
  RETURN_IF_ERROR(ReadBytes(json.value("bytes", Json::object()), prediction));
  RETURN_IF_ERROR(ReadTimes(json.value("times_us", Json::object()), prediction));
  return prediction;
}

absl::StatusOr<std::vector<Prediction>> LoadPredictions(const std::filesystem::path& path) {
  std::vector<Prediction> predictions;
  if (!std::filesystem::exists(path)) return predictions;
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  std::unordered_set<std::string> ids;
  size_t begin = 0;
  for (int number = 1; begin < text.size(); ++number) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) {
      std::error_code error;
      std::filesystem::resize_file(path, begin, error);
      if (error) {
        return absl::InternalError(
            absl::StrCat(path.string(), ": removing a torn line: ", error.message()));
      }
      break;
    }
    const Json json = Json::parse(text.begin() + begin, text.begin() + end, nullptr, false);
    absl::StatusOr<Prediction> prediction = Prediction::FromJson(json);
    if (prediction.ok() && !ids.insert(prediction->id).second) {
      prediction =
          absl::DataLossError(absl::StrCat("\"", prediction->id, "\" was answered before"));
    }
    if (!prediction.ok()) {
      return absl::DataLossError(
          absl::StrCat(path.string(), ":", number, ": ", prediction.status().message()));
    }
    predictions.push_back(std::move(*prediction));
    begin = end + 1;
  }
  return predictions;
}

absl::StatusOr<PredictionLog> PredictionLog::Open(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  std::ofstream stream(path, std::ios::app | std::ios::binary);
  if (!stream) return absl::PermissionDeniedError(absl::StrCat(path.string(), ": cannot append"));
  return PredictionLog(path, std::move(stream));
}

absl::Status PredictionLog::Append(const Prediction& prediction) {
  // An invalid UTF-8 byte from a model must not end a run: it is replaced.
  stream_ << prediction.ToJson().dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"
          << std::flush;
  if (!stream_) return absl::ResourceExhaustedError(absl::StrCat(path_.string(), ": write failed"));
  return absl::OkStatus();
}

}  // namespace qc2c
