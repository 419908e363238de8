// Questions and where they come from: JSONL, an object a line,
//   {"id": "q1" or 1, "question": "...", "choices": {"A": "...", "B": "..."}, "answer": "B"}
// or, for an open question, the same without choices and with the text of the answer. "fact", text,
// is what some prompt formats give the sharer alone. Further fields (split, subject, ...) are
// allowed and ignored.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace qc2c {

struct Choice {
  std::string letter;  // the key in the file
  std::string text;
};

struct Question {
  std::string id;
  std::string text;
  std::vector<Choice> choices;  // in the file's order; empty for an open question
  std::string answer;           // a choice's letter, or the text
  std::string fact;             // empty if the file has none

  bool is_open() const { return choices.empty(); }
};

// The first `limit` questions (0: all). At least one, with distinct ids, all open or none.
// INVALID_ARGUMENT names file, line and field.
absl::StatusOr<std::vector<Question>> LoadQuestions(const std::filesystem::path& path,
                                                    uint64_t limit);

}  // namespace qc2c
