// What a run asks: pairs of models, datasets, points. A YAML file; paths in it are relative to it,
// or begin with $MODELS or $QUESTIONS (downloads.h).
//   name: demo
//   in_flight: 64
//   versus: bf16                      the point that the others are compared with
//   note: "..."                       what a reader of the tables should know
//   pairs:                            for `demo`, which starts the daemons; the first is the
//   default
//     - {name: qwen, receiver: DIR, sharer: DIR, fuser: DIR}    without a fuser: prefix points;
//       codebook: FILE for klt points
//     - {name: both, receiver: DIR, combine: parallel,          several sharers of one receiver;
//        sharers: [{sharer: DIR, fuser: DIR, codebook: FILE}, ...]}    combine: or sequential
//   datasets:
//     - name: heldout_mc
//       questions: FILE.jsonl
//       limit: 0                      the first so many; 0: all
//       format: FILE.yaml             see prompt_format.h
//       method: generate              or logits, loglikelihood
//       max_new_tokens: 1             for generate
//       points: [receiver, bf16, int8_back_p050, {name: int8_per_head, codec:
//       "int8,axis=per_head"}, {name: second, codec: bf16, sharers: [1]}, ...]
//       sharers: those of the receiver that take part, counted from 0; combine: sequential or
//       parallel
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "experiments/point.h"
#include "experiments/prompt_format.h"
#include "experiments/question.h"
#include "qc2c/v1/receiver.pb.h"

namespace qc2c {

struct PairedSharer {
  std::filesystem::path model;
  std::filesystem::path fuser;     // empty: none
  std::filesystem::path codebook;  // of the scheme klt, for both daemons; empty: none
};

struct Pair {
  std::string name;
  std::filesystem::path receiver;
  std::vector<PairedSharer> sharers;  // at least one
  std::string combine;                // of several sharers; empty: the receiver's default
};

struct Dataset {
  std::string name;
  std::filesystem::path questions_path;
  std::filesystem::path format_path;
  uint64_t limit = 0;
  v1::AnswerMethod method = v1::ANSWER_METHOD_GENERATE;
  uint32_t max_new_tokens = 0;
  std::vector<Point> points;
  PromptFormat format;              // LoadDatasets
  std::vector<Question> questions;  // LoadDatasets
};

struct Recipe {
  std::string name;
  uint32_t in_flight = 64;
  std::string versus = "bf16";
  std::string note;  // printed below the tables
  std::vector<Pair> pairs;
  std::vector<Dataset> datasets;

  // INVALID_ARGUMENT names file and field: unknown, missing, out of range, a name given twice.
  static absl::StatusOr<Recipe> Load(const std::filesystem::path& path);

  // Reads the questions and formats of all datasets and checks that they fit their points.
  absl::Status LoadDatasets();

  // YAML with everything that decides the numbers: contents and hashes instead of paths. Two runs
  // with the same text may continue one another.
  std::string Resolved() const;

  // The pair of this name, the first if it is empty. NOT_FOUND lists the names.
  absl::StatusOr<Pair> FindPair(const std::string& name) const;
};

absl::StatusOr<v1::AnswerMethod> MethodFromName(const std::string& name);
std::string MethodName(v1::AnswerMethod method);

}  // namespace qc2c
