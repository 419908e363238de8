#include "experiments/question.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/bounded_json.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;  // choices keep their order

absl::StatusOr<std::string> TextField(const Json& object, const std::string& field) {
  const auto found = object.find(field);
  if (found == object.end()) {
    return absl::InvalidArgumentError(absl::StrCat("field \"", field, "\" is missing"));
  }
  if (!found->is_string() || found->get_ref<const std::string&>().empty()) {
    return absl::InvalidArgumentError(absl::StrCat("field \"", field, "\" is ", found->dump(),
                                                   "; expected text that is not empty"));
  }
  return found->get<std::string>();
}

// An id may be written as a whole number.
absl::StatusOr<std::string> IdField(const Json& object) {
  const auto found = object.find("id");
  if (found != object.end() && found->is_number_integer()) return found->dump();
  return TextField(object, "id");
}

absl::Status ReadChoices(const Json& object, Question& question) {
  const auto found = object.find("choices");
  if (found == object.end()) return absl::OkStatus();
  if (!found->is_object() || found->size() < 2) {
    return absl::InvalidArgumentError(
        "field \"choices\" must be an object with at least two members, letter: text");
  }
  for (const auto& [letter, text] : found->items()) {
    if (letter.empty() || !text.is_string()) {
      return absl::InvalidArgumentError(
          absl::StrCat("field \"choices\": \"", letter, "\" is ", text.dump(), "; expected text"));
    }
    question.choices.push_back({letter, text.get<std::string>()});
  }
  const bool has_answer = std::ranges::any_of(
      question.choices, [&](const Choice& choice) { return choice.letter == question.answer; });
  if (!has_answer) {
    return absl::InvalidArgumentError(
        absl::StrCat("field \"answer\" is \"", question.answer, "\", which no choice has"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Question> ParseQuestion(const std::string& line) {
  const Json object = ParseBoundedJson<Json>(line);
  if (!object.is_object()) return absl::InvalidArgumentError("not a JSON object");
  Question question;
  ASSIGN_OR_RETURN(question.id, IdField(object));
  ASSIGN_OR_RETURN(question.text, TextField(object, "question"));
  ASSIGN_OR_RETURN(question.answer, TextField(object, "answer"));
  RETURN_IF_ERROR(ReadChoices(object, question));
  const auto fact = object.find("fact");
  if (fact != object.end() && fact->is_string()) question.fact = fact->get<std::string>();
  return question;
}

}  // namespace

absl::StatusOr<std::vector<Question>> LoadQuestions(const std::filesystem::path& path,
                                                    uint64_t limit) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  std::vector<Question> questions;
  std::unordered_set<std::string> ids;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (limit != 0 && questions.size() == limit) break;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto at = [&](absl::string_view problem) {
      return absl::InvalidArgumentError(absl::StrCat(path.string(), ":", number, ": ", problem));
    };
    absl::StatusOr<Question> question = ParseQuestion(line);
    if (!question.ok()) return at(question.status().message());
    if (!ids.insert(question->id).second) {
      return at(absl::StrCat("field \"id\" is \"", question->id, "\", as on an earlier line"));
    }
    if (!questions.empty() && questions.front().is_open() != question->is_open()) {
      return at("field \"choices\": a file has open questions or multiple choice, not both");
    }
    questions.push_back(std::move(*question));
  }
  if (questions.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path.string(), ": no question in it"));
  }
  return questions;
}

}  // namespace qc2c
