// A point: one setting of mode, codec and control. Its name says everything:
//   receiver sharer text text_answer             a mode without a cache
//   receiver_context                             the receiver alone, with the sharer's context as
//   text SCHEME[_SELECTION_pNNN|_SELECTION_tNNN]      fused; NNN hundredths of, or NNN tokens are
//   sent prefix_SCHEME...                             the same for the cache of the context,
//   unfused
//   ..._wrong_question  ..._zero_cache           controls of both
// e.g. bf16, int8_back_p050, int4_value_norm_p025, int8_back_t016, prefix_int4,
// bf16_wrong_question.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/codec/codec.h"
#include "qc2c/v1/receiver.pb.h"

namespace qc2c {

struct Point {
  std::string name;
  v1::Mode mode = v1::MODE_UNSPECIFIED;
  v1::Control control = v1::CONTROL_NONE;
  std::optional<CodecSpec> codec;  // present exactly if SharesCache(mode)
  // Who reads the prompt format's sharer_context: the sharer, or the receiver in its own prompt.
  enum class ContextReader { kSharer, kReceiver } context_reader = ContextReader::kSharer;
  // Of a receiver with several sharers: which take part (empty: AnswerRequest says) and how.
  std::vector<uint32_t> sharers;
  v1::Combine combine = v1::COMBINE_UNSPECIFIED;
};

// Whether a cache crosses: fused and prefix.
bool SharesCache(v1::Mode mode);

// INVALID_ARGUMENT names the point and what does not fit.
absl::StatusOr<Point> PointFromName(const std::string& name);

// The point of a mode and, if it shares a cache, a codec. Its name parses back to it where the
// grammar above can say so; otherwise it is the codec's text with file-name characters only.
absl::StatusOr<Point> MakePoint(v1::Mode mode, const std::optional<CodecSpec>& codec);

// "receiver", "fused", ... INVALID_ARGUMENT lists the modes.
absl::StatusOr<v1::Mode> ModeFromName(const std::string& name);
std::string ModeName(v1::Mode mode);

// "sequential", "parallel"; "" is COMBINE_UNSPECIFIED's name and refused as a name.
absl::StatusOr<v1::Combine> CombineFromName(const std::string& name);
std::string CombineName(v1::Combine combine);

// The codec with the keys of the command line: {"scheme": "int4", "axis": ..., "keep_ratio": ...}.
nlohmann::ordered_json CodecToJson(const CodecSpec& codec);

}  // namespace qc2c
