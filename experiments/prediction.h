// One answered question, and the file that holds a point's answers: JSONL, a line an answer,
// appended as answers arrive. A line is an answer that counts; nothing else is ever written there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "qc2c/v1/receiver.pb.h"

namespace qc2c {

struct Prediction {
  std::string id;
  std::optional<std::string> pred;
  std::string gold;
  bool correct = false;
  std::string output;
  uint32_t input_tokens = 0;
  uint32_t gen_tokens = 0;
  uint32_t kept_tokens = 0;
  std::string hint;
  std::string codec_fallback;  // not empty: another codec than the point's, which and why
  v1::ByteCounts bytes;        // of the caches or the text that crossed
  v1::StageTimes times;        // as the receiver measured them
  uint64_t wall_us = 0;  // since the answer before it in the same session: their sum is the run's
                         // time, whatever number of questions is in flight
  // One an option, in nats, a token's mean for loglikelihood; empty for answers in text.
  std::vector<double> option_scores;
  std::optional<uint64_t> socket_bytes;  // the same for the socket's bytes, both ways, if metered
  // Where several sharers took part: each one's, in the receiver's order.
  struct FromSharer {
    uint32_t sharer = 0;  // counted from 0
    uint64_t bytes_tx = 0;
    uint32_t kept_tokens = 0;
  };
  std::vector<FromSharer> by_sharer;

  nlohmann::ordered_json ToJson() const;
  // INVALID_ARGUMENT names the field.
  static absl::StatusOr<Prediction> FromJson(const nlohmann::ordered_json& json);
};

// The answers in `path`; none if there is no such file. A last line without its end was cut by a
// kill: it is removed from the file. DATA_LOSS names the line of anything else that does not parse
// and of an id that comes twice.
absl::StatusOr<std::vector<Prediction>> LoadPredictions(const std::filesystem::path& path);

// Appends to a point's file; each line reaches the kernel before Append returns.
class PredictionLog {
 public:
  static absl::StatusOr<PredictionLog> Open(const std::filesystem::path& path);
  absl::Status Append(const Prediction& prediction);

 private:
  PredictionLog(std::filesystem::path path, std::ofstream stream)
      : path_(std::move(path)), stream_(std::move(stream)) {}

  std::filesystem::path path_;
  std::ofstream stream_;
};

}  // namespace qc2c
